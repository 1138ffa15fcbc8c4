// Who is connected to this replica, and ending their sessions.

import { ask } from "./api.js";
import { byId, bytes, clock, confirmed, duration, element, onSubmit, say } from "./page.js";

const LIMIT = 200;
const LIST_EVERY_MS = 5_000;

export class Sessions {
  #timer = 0;
  // Only the answer to the latest request is used.
  #asked = 0;
  // By session id. An existing row is reused, so that a click on it is not lost.
  #rows = new Map();

  constructor() {
    onSubmit("sessions-form", () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
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

  // Refreshes now, and regularly while the page is visible.
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const number = ++this.#asked;
    const user = this.#user();
    try {
      const query = new URLSearchParams(user ? { limit: LIMIT, user } : { limit: LIMIT });
      const { sessions, total, truncated } = await ask("GET", `v1/sessions?${query}`);
      if (number !== this.#asked) return;
      say("sessions-count", `${total} on this replica${truncated ? `, the newest ${sessions.length} shown` : ""}`);
      byId("sessions-region").classList.remove("stale");
      this.#list(sessions);
    } catch (error) {
      if (number !== this.#asked) return;
      // The status panel reports an unreachable gateway.
      if (error.status) say("sessions-count", error.message, "bad");
      if (error.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), LIST_EVERY_MS);
  }

  // The gateway does not answer: the list is from `since`.
  markStale(since) {
    if (since === null) return;
    byId("sessions-region").classList.add("stale");
    say("sessions-count", `Stale, from ${clock(since)}`, "warn");
  }

  #user() {
    return byId("sessions-user").value.trim();
  }

  #list(sessions) {
    // Whoever has come here by keyboard stays on the same session.
    const focused = document.activeElement?.dataset?.session;
    const rows = new Map(sessions.map((session) => [session.id, this.#row(session)]));
    this.#rows = rows;
    const table = byId("sessions");
    const isSame = table.children.length === rows.size && [...rows.values()].every((row, index) => table.children[index] === row);
    if (isSame) return;
    table.replaceChildren(...rows.values());
    if (focused) this.#focus(focused);
  }

  // The row of a session, reused if it exists.
  #row(session) {
    const hidden = session.subscriptions - session.channels.length;
    const channels = session.channels.join(", ") + (hidden > 0 ? ` and ${hidden} more` : "");
    const texts = [
      session.user ?? "not identified", channels || "none", duration(session.age_ms), bytes(session.queued_bytes),
      session.address ?? "unknown", String(session.version),
    ];
    const kinds = ["", "wrap", "number", "number", "", ""];
    const row = this.#rows.get(session.id) ?? this.#newRow(session, kinds);
    texts.forEach((text, index) => {
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
    const end = row.querySelector("button");
    end.setAttribute("aria-label", `Disconnect session ${session.id.slice(0, 8)} of ${session.user ?? "nobody yet"}`);
    end.onclick = () => this.#end(session);
    return row;
  }

  #newRow({ id }, kinds) {
    const end = element("button", { type: "button", class: "small danger", "data-session": id }, "Disconnect");
    const cells = kinds.map((kind) => element("td", { class: kind }));
    const name = element("td", {}, element("code", { title: id }, id.slice(0, 8)));
    return element("tr", {}, ...cells, name, element("td", {}, end));
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
      say("sessions-count", error.message, "bad");
      return;
    }
    this.soon();
  }
}
