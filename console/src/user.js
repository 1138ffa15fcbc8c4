// The user whose sessions are listed: online or away, on any replica.

import { Feed } from "./feed.js";
import { plural } from "./format.js";
import { byId } from "./page.js";
import { describeState, PRESENCE_OFF, queryUsers } from "./presence.js";

const USER_INTERVAL_MS = 2_000;

export class User {
  #name = "";
  #feed = new Feed("user", USER_INTERVAL_MS, () => queryUsers([this.#name]), (users) => this.#describe(users), () => PRESENCE_OFF);

  // Shows a user, or none for "".
  show(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.#feed.stop();
    byId("user-region").hidden = name === "";
    byId("user-name").textContent = name.slice(0, 2).toUpperCase();
    byId("user-title").textContent = name;
    if (name) this.#feed.start();
  }

  #describe(users) {
    const state = users[this.#name];
    byId("user-region").classList.toggle("online", state.online);
    return [`${describeState(state)}${state.replicas > 0 ? `, on ${plural(state.replicas, "replica")}` : ""}`];
  }
}
