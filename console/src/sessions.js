// Lists the sessions of this replica and disconnects them.

import { request } from "./api.js";
import { byId, formatBytes, formatTime, confirmAction, formatDuration, element, onSubmit, setStatus } from "./page.js";

const MAX_SESSIONS = 200;
const SESSIONS_INTERVAL_MS = 5_000;

export class Sessions {
  #timer = 0;
  // Only the answer to the latest request is used.
  #latestRequest = 0;
  // The rows by session id. Rows are reused, so that a click during a refresh is not lost.
  #rows = new Map();

  constructor() {
    onSubmit("sessions-form", () => this.refresh());
    document.addEventListener("visibilitychange", () => this.refresh());
    byId("disconnect-user").addEventListener("click", () => this.#disconnectUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
  }

  // Refreshes after a short delay, so that a session that has just begun or ended is listed correctly.
  refreshSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), 300);
  }

  // Refreshes now, and regularly while the page is visible.
  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const number = ++this.#latestRequest;
    const user = this.#user();
    try {
      const query = new URLSearchParams(user ? { limit: MAX_SESSIONS, user } : { limit: MAX_SESSIONS });
      const { sessions, total, truncated } = await request("GET", `v1/sessions?${query}`);
      if (number !== this.#latestRequest) return;
      setStatus("sessions-count", `${total} on this replica${truncated ? `, the newest ${sessions.length} shown` : ""}`);
      byId("sessions-region").classList.remove("stale");
      this.#render(sessions);
    } catch (error) {
      if (number !== this.#latestRequest) return;
      // The status panel reports an unreachable gateway.
      if (error.status) setStatus("sessions-count", error.message, "bad");
      if (error.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), SESSIONS_INTERVAL_MS);
  }

  // Marks the list as stale, as of `since`, because the gateway does not answer.
  markStale(since) {
    if (since === null) return;
    byId("sessions-region").classList.add("stale");
    setStatus("sessions-count", `Stale, as of ${formatTime(since)}`, "warn");
  }

  #user() {
    return byId("sessions-user").value.trim();
  }

  #render(sessions) {
    // The keyboard focus stays on the same session.
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
      session.user ?? "not identified", channels || "none", formatDuration(session.age_ms), formatBytes(session.queued_bytes),
      session.address ?? "unknown", String(session.version),
    ];
    const kinds = ["", "wrap", "number", "number", "", ""];
    const row = this.#rows.get(session.id) ?? this.#newRow(session, kinds);
    texts.forEach((text, index) => {
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
    const button = row.querySelector("button");
    button.setAttribute("aria-label", `Disconnect session ${session.id.slice(0, 8)} of ${session.user ?? "an unidentified user"}`);
    button.onclick = () => this.#disconnect(session);
    return row;
  }

  #newRow({ id }, kinds) {
    const button = element("button", { type: "button", class: "small danger", "data-session": id }, "Disconnect");
    const cells = kinds.map((kind) => element("td", { class: kind }));
    const name = element("td", {}, element("code", { title: id }, id.slice(0, 8)));
    return element("tr", {}, ...cells, name, element("td", {}, button));
  }

  // Focuses a session, or the table if the session has ended.
  #focus(session) {
    (document.querySelector(`[data-session="${session}"]`) ?? byId("sessions-region")).focus();
  }

  async #disconnect({ id, user }) {
    const name = `session ${id.slice(0, 8)} of ${user ?? "an unidentified user"}`;
    const isConfirmed = await confirmAction(`This closes ${name} with code 4010. The client does not reconnect by itself.`);
    // The list may have been refreshed while the dialog was open.
    this.#focus(id);
    if (isConfirmed) await this.#post(`v1/sessions/${id}/disconnect`);
  }

  async #disconnectUser() {
    const user = this.#user();
    if (!(await confirmAction(`This closes all sessions of ${user} on this replica with code 4010.`))) return;
    await this.#post(`v1/users/${encodeURIComponent(user)}/disconnect`);
  }

  async #post(path) {
    try {
      await request("POST", path);
    } catch (error) {
      setStatus("sessions-count", error.message, "bad");
      return;
    }
    this.refreshSoon();
  }
}
