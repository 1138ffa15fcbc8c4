// Lists of stored messages by page: the history of a channel, and the inbox.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { formatDuration, formatTime, plural } from "./format.js";
import { preview } from "./json.js";
import { Pager } from "./pager.js";
import { Rows } from "./rows.js";

const MESSAGES_INTERVAL_MS = 5_000;

class MessageList {
  #key;
  #pager;
  #rows;
  #feed;

  // `name`: the list, its pager and its feed. `key`: the field that identifies a message. `load` gets the parameters of
  // a page, and returns the promise of an answer.
  constructor(name, key, describe, load, pages) {
    this.#key = key;
    this.#pager = new Pager(name, name, () => this.#feed.refresh(), pages);
    this.#rows = new Rows(name, describe);
    this.#feed = new Feed(name, MESSAGES_INTERVAL_MS, () => load(this.#pager.query), (answer) => this.#show(answer));
  }

  open() {
    this.#feed.start();
  }

  close() {
    this.#feed.stop();
    this.#rows.show([]);
    this.#pager.reset();
  }

  #show({ messages, next }) {
    this.#rows.show(messages.map((item) => [item[this.#key], item]));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(messages.length, "message")}${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}

// The day and the time of a position, which begins with Redis' clock in milliseconds.
function formatPosition(position) {
  const date = new Date(Number(position.split("-")[0]));
  return `${date.toISOString().slice(0, 10)} ${formatTime(date)}`;
}

// The durable messages of a channel, the newest first. `path` returns the path of the channel.
export class History extends MessageList {
  constructor(path) {
    const describe = ({ position, message }) => {
      const json = JSON.stringify(message);
      const cells = [[formatPosition(position), "time"], [position, "code faint position"], [preview(json), "code preview"]];
      return { cells, json };
    };
    const load = ({ limit, after }) => {
      const query = new URLSearchParams({ limit, reverse: true, ...(after && { since: after }) });
      return request("GET", `${path()}/history?${query}`);
    };
    super("history", "position", describe, load, ["Newer page", "Older page"]);
  }
}

// The messages of clients that wait for the backend, the oldest first. The console deletes none: that is the backend's
// decision.
export class Inbox extends MessageList {
  constructor() {
    const describe = ({ at, user, channel, message, id, session, entry }) => {
      const json = JSON.stringify(message);
      // The clocks of this machine and of Redis may differ.
      const age = formatDuration(Math.max(0, Date.now() - at));
      const cells = [[age, "number"], [user, "strong"], [channel, "code"], [preview(json), "code preview"]];
      return { cells, json, facts: { Id: id, Session: session, Entry: entry } };
    };
    super("inbox", "entry", describe, (query) => request("GET", `v1/inbox?${new URLSearchParams(query)}`));
    this.open();
  }
}
