// The list of frames of the console's socket, in both directions, newest first.

import { byId, formatBytes, formatTime, element } from "./page.js";

const MAX_FRAMES = 500;
const OP_NAMES = {
  0: "Hello", 1: "Identify", 2: "Ready", 3: "Message", 4: "Subscribe", 5: "Unsubscribe", 6: "Subscription",
  7: "Reconnect", 8: "Gap", 9: "Error", 10: "Heartbeat", 11: "Heartbeat ACK", 12: "Refresh", 13: "Refreshed",
  14: "Room", 15: "Members", 16: "Send", 17: "Sent", 18: "Signal", 19: "History", 20: "Page",
};
const encoder = new TextEncoder();

// Hides the token on the screen, because the screen may be shared.
export const maskToken = (text) => text.replace(/("token":)"(?:[^"\\]|\\.)*"/, '$1"…"');

export class Frames {
  #list = byId("frames");
  #count = 0;

  constructor() {
    byId("hide-heartbeats").addEventListener("change", (event) => {
      this.#list.classList.toggle("hide-heartbeats", event.target.checked);
    });
    byId("clear-frames").addEventListener("click", () => {
      this.#count = 0;
      this.#list.replaceChildren();
      byId("frames-count").textContent = "";
    });
  }

  sent(text, op) {
    this.#add("sent", "→ sent", text, op);
  }

  received(text, op) {
    this.#add("received", "← received", text, op);
  }

  // Adds an event of the socket, such as its close.
  note(text) {
    this.#prepend("event", element("span", { class: "time" }, formatTime(new Date(), true)), element("span", { class: "event" }, text));
  }

  #add(kind, direction, text, op) {
    const isHeartbeat = op === 10 || op === 11;
    this.#prepend(
      isHeartbeat ? "heartbeat" : "frame",
      element("span", { class: "time" }, formatTime(new Date(), true)),
      element("span", { class: kind }, direction),
      element("span", {}, OP_NAMES[op] ?? `op ${op}`),
      element("span", { class: "size" }, formatBytes(encoder.encode(text).length)),
      element("code", {}, maskToken(text)),
    );
  }

  #prepend(kind, ...parts) {
    this.#list.prepend(element("li", { class: kind }, ...parts));
    this.#count += 1;
    if (this.#list.children.length > MAX_FRAMES) this.#list.lastElementChild.remove();
    byId("frames-count").textContent = `${this.#count} in total, the newest ${MAX_FRAMES} are kept`;
  }
}
