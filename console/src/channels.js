// Lists the channels that have subscribers on any replica, and searches them.

import { request } from "./api.js";
import { Channel } from "./channel.js";
import { Feed } from "./feed.js";
import { plural } from "./format.js";
import { Marks } from "./marks.js";
import { byId, onSubmit, setStatus } from "./page.js";
import { Pager } from "./pager.js";
import { channelProblem, searchQuery, searchResult } from "./search.js";
import { Table } from "./table.js";
import { goTo, onView } from "./views.js";

const CHANNELS_INTERVAL_MS = 2_000;
const OCCUPANCY_OFF = "Channels in use are not recorded. Set presence.enabled = true, and occupancy = true in "
  + "[namespaces.<name>].";

export class Channels {
  #prefix = "";
  #marks = new Marks();
  #pager = new Pager("in-use", "channels", () => this.#open());
  #table = new Table(
    "in-use",
    [
      { text: ({ channel }) => channel, kind: "code name" },
      { text: ({ count }) => count ?? "not counted", kind: "number" },
      { text: ({ replicas }) => replicas, kind: "number" },
    ],
    {
      text: "Open", kind: "quiet", label: ({ channel }) => `Open ${channel}`,
      run: ({ channel }) => goTo("channels", channel),
    },
  );
  #feed = new Feed(
    "in-use", CHANNELS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer), () => OCCUPANCY_OFF,
  );
  #channel;

  constructor(control) {
    this.#channel = new Channel(control);
    onSubmit("channel-form", () => this.#openEntered());
    byId("channel-name").addEventListener("input", () => this.#search());
    byId("channel-close").addEventListener("click", () => goTo("channels"));
    onView((view, name) => view === "channels" && this.#showChannel(name));
    this.#open();
  }

  #search() {
    const prefix = byId("channel-name").value.trim();
    if (prefix === this.#prefix) return;
    this.#prefix = prefix;
    this.#pager.reset();
    this.#table.clear();
    this.#feed.stop();
    this.#open();
  }

  #openEntered() {
    const name = byId("channel-name").value.trim();
    const problem = channelProblem(name);
    if (problem) return setStatus("in-use-status", problem, "bad");
    goTo("channels", name);
  }

  #showChannel(name) {
    const closed = this.#channel.name;
    if (name === closed) return;
    byId("channels-split").classList.toggle("has-detail", name !== "");
    if (name) this.#channel.open(name);
    else {
      this.#channel.close();
      this.#table.focus(closed);
    }
    this.#table.setCurrent(name);
  }

  // Opens a page of the list.
  #open() {
    this.#marks.reset();
    this.#feed.start();
  }

  #load() {
    const query = searchQuery(this.#prefix, this.#pager.query);
    return request("GET", `v1/channels?${new URLSearchParams(query)}`).then((answer) => searchResult(this.#prefix, answer));
  }

  #show({ channels, next }) {
    this.#table.show(this.#marks.update(new Map(channels.map((one) => [one.channel, one])), next));
    this.#table.setCurrent(this.#channel.name);
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(channels.length, "channel")} in use${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}
