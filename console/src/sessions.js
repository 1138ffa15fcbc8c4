// Who is connected to this replica, and ending their sessions.

import { ask } from "./api.js";
import { byId, bytes, confirmed, duration, element, onSubmit } from "./page.js";

const LIMIT = 200;

export class Sessions {
  #timer = 0;

  constructor() {
    onSubmit("sessions-form", () => this.look());
    byId("disconnect-user").addEventListener("click", () => this.#endUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
  }

  // Asks anew a moment after something has changed: a session that has just come or gone is there by then.
  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), 300);
  }

  async look() {
    const user = this.#user();
    try {
      const query = new URLSearchParams(user ? { limit: LIMIT, user } : { limit: LIMIT });
      const { sessions, total, truncated } = await ask("GET", `v1/sessions?${query}`);
      byId("sessions-count").textContent = `${total} on this replica${truncated ? `, the youngest ${sessions.length} shown` : ""}`;
      this.#list(sessions);
    } catch (error) {
      byId("sessions-count").textContent = error.message;
    }
  }

  #user() {
    return byId("sessions-user").value.trim();
  }

  #list(sessions) {
    // Whoever has come here by keyboard stays on the same session.
    const focused = document.activeElement?.dataset?.session;
    const rows = sessions.map((session) => {
      const cell = (content, kind = "") => element("td", { class: kind }, content);
      const hidden = session.subscriptions - session.channels.length;
      const channels = session.channels.join(", ") + (hidden > 0 ? ` and ${hidden} more` : "");
      const end = element("button", { type: "button", class: "small danger", "data-session": session.id }, "Disconnect");
      end.setAttribute("aria-label", `Disconnect session ${session.id.slice(0, 8)} of ${session.user ?? "nobody yet"}`);
      end.addEventListener("click", () => this.#end(session));
      return element("tr", {},
        cell(session.user ?? "not identified"), cell(channels || "none", "wrap"),
        cell(duration(session.age_ms), "number"), cell(bytes(session.queued_bytes), "number"),
        cell(session.address ?? "unknown"), cell(String(session.version)),
        cell(element("code", { title: session.id }, session.id.slice(0, 8))), cell(end));
    });
    byId("sessions").replaceChildren(...rows);
    if (focused) this.#focus(focused);
  }

  // Or on the table, where that session has gone.
  #focus(session) {
    (document.querySelector(`[data-session="${session}"]`) ?? byId("sessions-region")).focus();
  }

  async #end({ id, user }) {
    const isWanted = await confirmed(`Session ${id.slice(0, 8)} of ${user ?? "nobody yet"} is closed with 4010, and does not come back by itself.`);
    // The list may have been drawn anew behind the dialog.
    this.#focus(id);
    if (isWanted) await this.#post(`v1/sessions/${id}/disconnect`);
  }

  async #endUser() {
    const user = this.#user();
    if (!(await confirmed(`All sessions of ${user} on this replica are closed with 4010.`))) return;
    await this.#post(`v1/users/${encodeURIComponent(user)}/disconnect`);
  }

  async #post(path) {
    try {
      await ask("POST", path);
    } catch (error) {
      byId("sessions-count").textContent = error.message;
    }
    this.soon();
  }
}
