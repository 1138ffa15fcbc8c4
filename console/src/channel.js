// One channel: its subscribers on all replicas, and its members and its history by page.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { plural } from "./format.js";
import { Marks } from "./marks.js";
import { History } from "./messages.js";
import { byId } from "./page.js";
import { Pager } from "./pager.js";
import { Table } from "./table.js";
import { Tabs } from "./tabs.js";
import { addressOf } from "./views.js";

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
  // The name of the open channel, or "".
  name = "";
  #marks = new Marks();
  #pager = new Pager("members", "members", () => this.#openMembers());
  #table = new Table("members", [{ text: (user) => user, kind: "name", link: (user) => addressOf("users", user) }]);
  #feed = new Feed(
    "channel", CHANNEL_INTERVAL_MS, () => request("GET", this.#path()), describeChannel,
    () => settingHint("use", "occupancy = true", this.name),
  );
  #members = new Feed(
    "members", CHANNEL_INTERVAL_MS, () => this.#loadMembers(), (answer) => this.#showMembers(answer),
    () => settingHint("membership", 'presence = "members"', this.name),
  );
  #history = new History(() => this.#path());
  #tabs = new Tabs(byId("channel-region").querySelector('[role="tablist"]'), (tab) => this.#showTab(tab));

  constructor(control) {
    byId("channel-disconnect").addEventListener("click", () => control.run("disconnect channel", this.name, "channel"));
  }

  open(name) {
    this.#stop();
    this.name = name;
    byId("channel-title").textContent = name;
    byId("channel-none").hidden = true;
    byId("channel-region").hidden = false;
    byId("channel-publish").href = addressOf("publish", name);
    byId("channel-title").focus();
    this.#feed.start();
    this.#tabs.select(0);
  }

  close() {
    this.#stop();
    this.name = "";
    byId("channel-none").hidden = false;
    byId("channel-region").hidden = true;
  }

  // The history is read only while it is shown.
  #showTab(tab) {
    if (tab === "tab-history") this.#history.open();
    else this.#history.close();
    if (tab === "tab-members") this.#openMembers();
    else this.#members.stop();
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

  #path() {
    return `v1/channels/${encodeURIComponent(this.name)}`;
  }

  #loadMembers() {
    return request("GET", `${this.#path()}/members?${new URLSearchParams(this.#pager.query)}`);
  }

  #showMembers({ count, members, next }) {
    this.#table.show(this.#marks.update(new Map(members.map((user) => [user, user])), next));
    this.#pager.update(next);
    return [plural(count, "member") + this.#pager.text];
  }
}
