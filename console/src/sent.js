// The history of what was published from this tab. The browser keeps it until the tab is closed.

import { formatTime, plural } from "./format.js";
import { jsonView, preview } from "./json.js";
import { byId, element } from "./page.js";

const MAX_SENT = 50;
// Longer messages are not listed, because the browser keeps little.
const MAX_MESSAGE = 16_384;
const STORE = "sent";

// The browser may refuse to store anything.
function readStore() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}

function writeStore(entries) {
  try {
    if (entries.length) sessionStorage.setItem(STORE, JSON.stringify(entries));
    else sessionStorage.removeItem(STORE);
  } catch {
    // The list of this page has the entries.
  }
}

export class Sent {
  // The newest first: channel, message, durable, at, outcome, received and failed.
  #entries = readStore();
  #rows = new Map();
  #edit;
  #resend;

  // `edit` and `resend` are called with an entry.
  constructor(edit, resend) {
    [this.#edit, this.#resend] = [edit, resend];
    byId("sent-clear").addEventListener("click", () => {
      this.#entries = [];
      this.#show();
      byId("sent-region").focus();
    });
    this.#show();
  }

  // Lists a message that is being published, and returns its entry.
  add(sent) {
    const entry = { ...sent, at: Date.now(), outcome: "publishing…", received: "" };
    if (sent.message.length <= MAX_MESSAGE) this.#entries = [entry, ...this.#entries].slice(0, MAX_SENT);
    this.#show();
    return entry;
  }

  update(entry, news) {
    Object.assign(entry, news);
    this.#rows.delete(entry);
    this.#show();
  }

  #show() {
    writeStore(this.#entries);
    this.#rows = new Map(this.#entries.map((entry) => [entry, this.#rows.get(entry) ?? this.#render(entry)]));
    byId("sent").replaceChildren(...this.#rows.values());
    byId("sent-count").textContent = this.#entries.length ? plural(this.#entries.length, "message") : "";
    byId("sent-clear").disabled = this.#entries.length === 0;
    byId("sent-region").classList.toggle("is-empty", this.#entries.length === 0);
  }

  #render(entry) {
    const { channel, message, durable, at, outcome, received, failed } = entry;
    const time = formatTime(new Date(at));
    const head = [element("span", { class: "time" }, time), element("span", { class: "code strong" }, channel)];
    if (durable) head.push(element("span", { class: "badge" }, "durable"));
    const button = (text, run) => {
      const created = element("button", { type: "button", class: "quiet small", "aria-label": `${text} the message of ${time} to ${channel}` }, text);
      created.addEventListener("click", () => run(entry));
      return created;
    };
    const summary = element("summary", {}, element("code", { class: "preview" }, preview(message)));
    const details = element("details", {}, summary);
    details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(jsonView(message)));
    return element(
      "li", {},
      element("div", { class: "sent-head" }, ...head, element("span", { class: "sent-buttons" }, button("Edit", this.#edit), button("Resend", this.#resend))),
      details,
      element("p", { class: failed ? "bad" : "muted" }, [outcome, received].filter(Boolean).join(", ")),
    );
  }
}
