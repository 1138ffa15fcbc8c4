// Shows whether users are online, on any replica, and each change. Needs only the admin key.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { formatTime, plural } from "./format.js";
import { byId, element, onSubmit, setStatus } from "./page.js";
import { Table } from "./table.js";
import { addressOf } from "./views.js";

const PRESENCE_INTERVAL_MS = 2_000;
const MAX_WATCHED = 100;
const MAX_CHANGES = 50;

export const PRESENCE_OFF = "Presence is off. Set presence.enabled = true on every replica.";

export const queryUsers = async (users) => (await request("POST", "v1/presence", JSON.stringify({ users }))).users;

export function describeState({ online, replicas }) {
  if (!online) return "away";
  return replicas > 0 ? "online" : "online, within the grace";
}

export class Presence {
  // The watched users, each with its state and the text of its last change.
  #users = new Map();
  #table = new Table(
    "presence",
    [
      { text: ({ user }) => user, kind: "name", link: ({ user }) => addressOf("users", user) },
      { text: describeState, kind: ({ online }) => (online ? "dot good" : "dot") },
      { text: ({ replicas }) => replicas, kind: "number" }, { text: ({ change }) => change, kind: "faint" },
    ],
    { text: "Remove", kind: "quiet", label: ({ user }) => `Remove ${user}`, run: ({ user }) => this.#remove(user) },
  );
  #feed = new Feed(
    "presence", PRESENCE_INTERVAL_MS, () => queryUsers([...this.#users.keys()]), (users) => this.#show(users),
    () => PRESENCE_OFF,
  );

  constructor() {
    onSubmit("presence-form", () => this.#watch());
    byId("user-watch").addEventListener("click", () => {
      byId("presence-users").value = byId("user-title").textContent;
      this.#watch();
    });
    byId("presence-clear").addEventListener("click", () => this.#clear());
  }

  // Asks for the entered users, and watches them if the gateway accepts their names.
  async #watch() {
    const field = byId("presence-users");
    const entered = field.value.split(/[\s,]+/).filter((user) => user && !this.#users.has(user));
    if (entered.length === 0) return;
    if (this.#users.size + entered.length > MAX_WATCHED) {
      return setStatus("presence-status", `At most ${MAX_WATCHED} users can be watched.`, "bad");
    }
    try {
      const users = await queryUsers(entered);
      for (const user of entered) this.#users.set(user, { user, change: "", ...users[user] });
    } catch (error) {
      const isOff = error.status === 409;
      const text = error.status ? error.message : "The admin port does not answer.";
      return setStatus("presence-status", isOff ? PRESENCE_OFF : text, isOff ? "warn" : "bad");
    }
    field.value = "";
    byId("presence-watched").hidden = false;
    byId("presence-clear").disabled = false;
    this.#feed.start();
  }

  #show(users) {
    for (const [user, before] of this.#users) {
      // A user that was added after the request has no answer yet.
      const now = Object.hasOwn(users, user) ? users[user] : before;
      if (now.online !== before.online) before.change = this.#addChange(user, now.online);
      Object.assign(before, { online: now.online, replicas: now.replicas });
    }
    this.#table.show([...this.#users].map(([key, item]) => ({ key, item })));
    const online = [...this.#users.values()].filter((user) => user.online).length;
    return [`${online} of ${plural(this.#users.size, "user")} online`];
  }

  #addChange(user, isOnline) {
    const text = `${isOnline ? "came online" : "went away"} at ${formatTime(new Date())}`;
    const list = byId("presence-changes");
    list.prepend(element("li", {}, element("code", {}, user), ` ${text}`));
    if (list.children.length > MAX_CHANGES) list.lastElementChild.remove();
    return text;
  }

  #remove(user) {
    this.#users.delete(user);
    if (this.#users.size === 0) return this.#clear();
    this.#feed.refresh();
  }

  #clear() {
    this.#users.clear();
    this.#table.clear();
    this.#feed.stop();
    byId("presence-changes").replaceChildren();
    byId("presence-watched").hidden = true;
    byId("presence-clear").disabled = true;
    byId("presence-users").focus();
  }
}
