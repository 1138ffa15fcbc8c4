// Lists the sessions of all replicas and disconnects them.

import { request } from "./api.js";
import { describeMissing } from "./control.js";
import { Feed } from "./feed.js";
import { formatBytes, formatDuration, plural } from "./format.js";
import { byId, onSubmit } from "./page.js";
import { Pager } from "./pager.js";
import { Table } from "./table.js";
import { User } from "./user.js";
import { addressOf, goTo, onView } from "./views.js";

const SESSIONS_INTERVAL_MS = 5_000;
const nameOf = ({ id, user }) => `${id.slice(0, 8)} of ${user ?? "an unidentified user"}`;

function formatChannels({ channels, subscriptions }) {
  const hidden = subscriptions - channels.length;
  return (channels.join(", ") || "none") + (hidden > 0 ? ` and ${hidden} more` : "");
}

export class Sessions {
  #control;
  #user = new User();
  #filter = {};
  #pager = new Pager("sessions", "sessions", () => this.#feed.refresh());
  #table;
  #feed = new Feed("sessions", SESSIONS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer));

  constructor(control) {
    this.#control = control;
    this.#table = new Table(
      "sessions",
      [
        { text: ({ user }) => user ?? "not identified", kind: "strong", link: ({ user }) => user && addressOf("users", user) },
        { text: formatChannels, kind: "code wrap" },
        { text: ({ age_ms }) => formatDuration(age_ms), kind: "number" },
        { text: ({ queued_bytes }) => formatBytes(queued_bytes), kind: "number" },
        { text: ({ address }) => address ?? "unknown", kind: "code" },
        { text: ({ version }) => version, kind: "number" },
        { text: ({ replica }) => replica, kind: "code" },
        { text: ({ id }) => id.slice(0, 8), kind: "code", title: ({ id }) => id },
      ],
      {
        text: "Disconnect", kind: "danger", label: (session) => `Disconnect session ${nameOf(session)}`,
        run: (session) => this.#disconnect(session),
      },
    );
    onSubmit("sessions-form", () => this.#applyEntered());
    onView((view, user) => view === "users" && this.#showUser(user));
    byId("disconnect-user").addEventListener("click", () => this.#disconnectUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
    this.#feed.start();
  }

  refreshSoon() {
    this.#feed.refreshSoon();
  }

  // The address has the user, so that it can be opened again.
  #applyEntered() {
    this.#applyFilter();
    goTo("users", this.#filter.user);
  }

  #showUser(user) {
    if (user === (this.#filter.user ?? "")) return;
    byId("sessions-user").value = user;
    byId("disconnect-user").disabled = user === "";
    this.#applyFilter();
  }

  #applyFilter() {
    const entered = ["user", "channel"].map((name) => [name, byId(`sessions-${name}`).value.trim()]);
    this.#filter = Object.fromEntries(entered.filter(([, value]) => value));
    this.#pager.reset();
    this.#user.show(this.#filter.user ?? "");
    this.#feed.refresh();
  }

  #load() {
    return request("GET", `v1/sessions?${new URLSearchParams({ ...this.#filter, ...this.#pager.query })}`);
  }

  #show({ sessions, total, next, missing }) {
    this.#table.show(sessions.map((session) => ({ key: session.id, item: session })));
    this.#pager.update(next);
    const count = plural(total, "session") + this.#pager.text;
    const missingText = describeMissing(missing, "Its sessions are not listed.", "Their sessions are not listed.");
    return missingText ? [`${count}. ${missingText}`, "warn"] : [count];
  }

  #disconnect(session) {
    // The list may have been refreshed while the dialog was open.
    const answered = () => this.#table.focus(session.id);
    this.#control.run("disconnect session", session.id, "sessions", { name: nameOf(session), answered });
  }

  #disconnectUser() {
    this.#applyEntered();
    this.#control.run("disconnect user", this.#filter.user, "sessions");
  }
}
