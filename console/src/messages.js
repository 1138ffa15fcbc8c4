// Lists of stored messages by page, which the operator opens and closes: the history of a channel, and the inbox.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { byId, formatDuration, plural } from "./page.js";
import { Pager } from "./pager.js";
import { Table } from "./table.js";

const MESSAGES_INTERVAL_MS = 5_000;
// A page may have several megabytes, which a browser lays out slowly.
const MAX_SHOWN = 4_096;

function formatMessage({ message }) {
  const text = JSON.stringify(message);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${plural(text.length, "character")})` : text;
}

class MessageList {
  #name;
  #key;
  #pager;
  #table;
  #feed;

  // `name`: the elements `<name>-toggle` and `<name>-list`, and those of the table, the pager and the feed. `key`: the
  // field that identifies a message. `load` gets the parameters of a page, and returns the promise of an answer.
  constructor(name, key, columns, load, pages) {
    [this.#name, this.#key] = [name, key];
    this.#pager = new Pager(name, name, () => this.#feed.refresh(), pages);
    this.#table = new Table(name, columns);
    this.#feed = new Feed(name, MESSAGES_INTERVAL_MS, () => load(this.#pager.query), (answer) => this.#show(answer));
    byId(`${name}-toggle`).addEventListener("click", () => (byId(`${name}-list`).hidden ? this.#open() : this.close()));
  }

  #open() {
    this.#setOpen(true);
    this.#feed.start();
  }

  close() {
    this.#feed.stop();
    this.#table.clear();
    this.#pager.reset();
    this.#setOpen(false);
  }

  #setOpen(isOpen) {
    byId(`${this.#name}-list`).hidden = !isOpen;
    byId(`${this.#name}-toggle`).setAttribute("aria-expanded", String(isOpen));
  }

  #show({ messages, next }) {
    this.#table.show(messages.map((item) => ({ key: item[this.#key], item })));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(messages.length, "message")}${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}

// The durable messages of a channel, the newest first. `path` returns the path of the channel.
export class History extends MessageList {
  constructor(path) {
    const columns = [[({ position }) => position, "code"], [formatMessage, "code name"]];
    const load = ({ limit, after }) => {
      const query = new URLSearchParams({ limit, reverse: true, ...(after && { since: after }) });
      return request("GET", `${path()}/history?${query}`);
    };
    super("history", "position", columns, load, ["Newer page", "Older page"]);
  }
}

// The messages of clients that wait for the backend, the oldest first. The console deletes none: that is the backend's
// decision.
export class Inbox extends MessageList {
  constructor() {
    const columns = [
      // The clocks of this machine and of Redis may differ.
      [({ at }) => formatDuration(Math.max(0, Date.now() - at)), "number"], [({ user }) => user, "name"],
      [({ channel }) => channel, "code name"], [formatMessage, "code name"], [({ id }) => id, "code name"],
      [({ session }) => session.slice(0, 8), "code", ({ session }) => session],
    ];
    super("inbox", "entry", columns, (query) => request("GET", `v1/inbox?${new URLSearchParams(query)}`));
  }
}
