// The list of frames of the console's socket, in both directions, newest first. It can be filtered and paused.

import { byteLength, formatBytes, formatTime } from "./format.js";
import { preview } from "./json.js";
import { byId, element, setText } from "./page.js";
import { expandable } from "./rows.js";

const MAX_FRAMES = 500;
const OP_NAMES = {
  0: "Hello", 1: "Identify", 2: "Ready", 3: "Message", 4: "Subscribe", 5: "Unsubscribe", 6: "Subscription",
  7: "Reconnect", 8: "Gap", 9: "Error", 10: "Heartbeat", 11: "Heartbeat ACK", 12: "Refresh", 13: "Refreshed",
  14: "Room", 15: "Members", 16: "Send", 17: "Sent", 18: "Signal", 19: "History", 20: "Page",
};

// Hides the token on the screen, because the screen may be shared.
const maskToken = (text) => text.replace(/("token":)"(?:[^"\\]|\\.)*"/, '$1"…"');

export class Frames {
  #list = byId("frames");
  #region = byId("frames-region");
  #count = 0;
  // The entries by their rows.
  #entries = new Map();
  #isPaused = false;
  // The entries since the list was paused.
  #waiting = [];

  constructor() {
    byId("frames-filter").addEventListener("input", () => this.#filter());
    byId("frames-filter").addEventListener("submit", (event) => event.preventDefault());
    byId("pause-frames").addEventListener("click", () => this.#pause(!this.#isPaused));
    byId("clear-frames").addEventListener("click", () => this.#clear());
  }

  sent(text, op) {
    this.#add({ direction: "sent", text: maskToken(text), op });
  }

  received(text, op) {
    this.#add({ direction: "received", text: maskToken(text), op });
  }

  // Adds an event of the socket, such as its close.
  note(text) {
    this.#add({ direction: "event", text });
  }

  #add({ direction, text, op }) {
    const name = op === undefined ? "" : OP_NAMES[op] ?? `op ${op}`;
    const isHeartbeat = op === 10 || op === 11;
    this.#count += 1;
    const entry = { at: new Date(), direction, text, name, isHeartbeat, found: `${name} ${text}`.toLowerCase() };
    if (this.#isPaused) this.#waiting = [...this.#waiting, entry].slice(-MAX_FRAMES);
    else this.#prepend(entry);
    this.#showCount();
  }

  #prepend(entry) {
    const row = element("li", { class: entry.isHeartbeat ? "heartbeat" : entry.direction }, renderFrame(entry));
    row.hidden = !this.#matches(entry);
    this.#entries.set(row, entry);
    this.#list.prepend(row);
    if (this.#entries.size <= MAX_FRAMES) return;
    this.#entries.delete(this.#list.lastElementChild);
    this.#list.lastElementChild.remove();
  }

  #matches({ direction, isHeartbeat, found }) {
    const wanted = byId("frames-direction").value;
    const isShown = wanted === "" || wanted === direction;
    const isHidden = isHeartbeat && byId("hide-heartbeats").checked;
    return isShown && !isHidden && found.includes(byId("frames-text").value.trim().toLowerCase());
  }

  #filter() {
    for (const [row, entry] of this.#entries) row.hidden = !this.#matches(entry);
    this.#showCount();
  }

  // Frames are still counted while the list is paused, and are listed when it resumes.
  #pause(isPaused) {
    this.#isPaused = isPaused;
    byId("pause-frames").setAttribute("aria-pressed", String(isPaused));
    for (const entry of this.#waiting.splice(0)) this.#prepend(entry);
    this.#showCount();
  }

  #clear() {
    [this.#count, this.#waiting] = [0, []];
    this.#entries.clear();
    this.#list.replaceChildren();
    this.#showCount();
  }

  #showCount() {
    const shown = [...this.#entries.keys()].filter((row) => !row.hidden).length;
    const kept = this.#count > MAX_FRAMES ? `, the newest ${MAX_FRAMES} are kept` : "";
    setText(byId("frames-count"), this.#count ? `${shown} shown of ${this.#count}${kept}` : "");
    setText(byId("pause-frames"), this.#isPaused ? `Resume${this.#waiting.length ? ` (${this.#waiting.length} new)` : ""}` : "Pause");
    this.#region.classList.toggle("is-empty", shown === 0);
    this.#region.dataset.empty = this.#count ? "No frame matches the filter." : "Connect to see frames.";
  }
}

function renderFrame({ at, direction, text, name }) {
  const time = element("span", { class: "time" }, formatTime(at, true));
  if (direction === "event") return element("p", {}, time, element("span", { class: "event" }, text));
  const arrow = direction === "sent" ? "↑ sent" : "↓ received";
  const cells = [
    time, element("span", { class: `direction ${direction}` }, arrow), element("span", { class: "op" }, name),
    element("span", { class: "number" }, formatBytes(byteLength(text))), element("code", { class: "preview" }, preview(text)),
  ];
  return expandable(cells, () => text);
}
