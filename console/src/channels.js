// Lists the channels that have subscribers on any replica.

import { request } from "./api.js";
import { Channel } from "./channel.js";
import { Feed } from "./feed.js";
import { Marks } from "./marks.js";
import { byId, onSubmit, plural } from "./page.js";
import { Pager } from "./pager.js";
import { Table } from "./table.js";

const CHANNELS_INTERVAL_MS = 2_000;
const OCCUPANCY_OFF = "Channels in use are not recorded. Set presence.enabled = true, and occupancy = true in "
  + "[namespaces.<name>].";

export class Channels {
  #namespace = "";
  #marks = new Marks();
  #pager = new Pager("in-use", "channels", () => this.#open());
  #table = new Table(
    "in-use",
    [
      [({ channel }) => channel, "code name"], [({ count }) => count ?? "not counted", "number"],
      [({ replicas }) => replicas, "number"],
    ],
    {
      text: "Open", kind: "quiet", label: ({ channel }) => `Open ${channel}`,
      run: ({ channel }) => this.#channel.open(channel),
    },
  );
  #feed = new Feed(
    "in-use", CHANNELS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer), () => OCCUPANCY_OFF,
  );
  #channel;

  constructor(control) {
    this.#channel = new Channel(control, (channel) => this.#table.focus(channel));
    onSubmit("in-use-form", () => {
      this.#namespace = byId("in-use-namespace").value.trim();
      this.#pager.reset();
      byId("in-use-list").hidden = false;
      byId("in-use-stop").disabled = false;
      this.#open();
    });
    onSubmit("channel-form", () => this.#channel.open(byId("channel-name").value.trim()));
    byId("in-use-stop").addEventListener("click", () => this.#stop());
  }

  // Opens a page of the list.
  #open() {
    this.#marks.reset();
    this.#feed.start();
  }

  #stop() {
    this.#feed.stop();
    this.#table.clear();
    this.#pager.reset();
    byId("in-use-list").hidden = true;
    byId("in-use-stop").disabled = true;
    byId("in-use-namespace").focus();
  }

  #load() {
    const filter = this.#namespace ? { namespace: this.#namespace } : {};
    return request("GET", `v1/channels?${new URLSearchParams({ ...filter, ...this.#pager.query })}`);
  }

  #show({ channels, next }) {
    this.#table.show(this.#marks.update(new Map(channels.map((one) => [one.channel, one])), next));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(channels.length, "channel")} in use${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}
