// One channel: its subscribers on all replicas, and its members and its history by page.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { Marks } from "./marks.js";
import { History } from "./messages.js";
import { byId, plural } from "./page.js";
import { Pager } from "./pager.js";
import { Table } from "./table.js";

const CHANNEL_INTERVAL_MS = 2_000;

function settingHint(what, setting, channel) {
  const [namespace] = channel.split(":");
  return `The ${what} of this channel is not recorded. `
    + `Set presence.enabled = true, and ${setting} in [namespaces.${namespace}].`;
}

function describeChannel({ occupied, replicas, count }) {
  if (!occupied) return ["no subscribers"];
  return [`${count === null ? "in use" : `${count} subscribed`}, on ${plural(replicas, "replica")}`];
}

export class Channel {
  #name = "";
  #marks = new Marks();
  #pager = new Pager("members", "members", () => this.#openMembers());
  #table = new Table("members", [[(user) => user, "name"]]);
  #feed = new Feed(
    "channel", CHANNEL_INTERVAL_MS, () => request("GET", this.#path()), describeChannel,
    () => settingHint("use", "occupancy = true", this.#name),
  );
  #members = new Feed(
    "members", CHANNEL_INTERVAL_MS, () => this.#loadMembers(), (answer) => this.#showMembers(answer),
    () => settingHint("membership", 'presence = "members"', this.#name),
  );
  #history = new History(() => this.#path());
  #closed;

  // `closed` is called with the name when the operator closes the channel.
  constructor(control, closed) {
    this.#closed = closed;
    byId("channel-close").addEventListener("click", () => this.#close());
    byId("channel-disconnect").addEventListener("click", () => control.run("disconnect channel", this.#name, "channel"));
  }

  open(name) {
    this.#stop();
    byId("members-list").hidden = true;
    this.#name = name;
    byId("channel-title").textContent = name;
    byId("channel-region").hidden = false;
    byId("channel-title").focus();
    this.#feed.start();
    this.#openMembers();
  }

  #openMembers() {
    this.#marks.reset();
    this.#members.start();
  }

  #stop() {
    this.#feed.stop();
    this.#members.stop();
    this.#history.close();
    this.#table.clear();
    this.#pager.reset();
    byId("channel-outcome").replaceChildren();
  }

  #close() {
    this.#stop();
    byId("channel-region").hidden = true;
    this.#closed(this.#name);
  }

  #path() {
    return `v1/channels/${encodeURIComponent(this.#name)}`;
  }

  #loadMembers() {
    return request("GET", `${this.#path()}/members?${new URLSearchParams(this.#pager.query)}`);
  }

  #showMembers({ count, members, next }) {
    byId("members-list").hidden = false;
    this.#table.show(this.#marks.update(new Map(members.map((user) => [user, user])), next));
    this.#pager.update(next);
    return [plural(count, "member") + this.#pager.text];
  }
}
