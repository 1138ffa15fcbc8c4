// Publishes messages, and shows the time until the console received them.

import { request } from "./api.js";
import { parseJson, readJson } from "./json.js";
import { byId, onSubmit, setStatus } from "./page.js";

export class Publish {
  #pending = null;

  constructor() {
    onSubmit("publish-form", () => this.#publish());
    document.addEventListener("visibilitychange", () => {
      if (this.#pending) this.#pending.wasHidden = true;
    });
  }

  // Handles a message that the console's own socket received.
  handleMessage(channel, text) {
    const { channel: expectedChannel, text: expectedText, at, wasHidden } = this.#pending ?? {};
    if (expectedText !== text || (channel ?? expectedChannel) !== expectedChannel) return;
    this.#pending = null;
    // Time in the background is not latency of the gateway.
    const took = wasHidden ? "" : ` after ${(performance.now() - at).toFixed(1)} ms`;
    byId("publish-result").textContent += ` Received here${took}.`;
  }

  async #publish() {
    const [channel, durable] = [byId("publish-channel").value.trim(), byId("publish-durable").checked];
    const message = readJson("publish-message", "publish-result");
    if (message === null) return;
    const text = JSON.stringify(parseJson(message));
    // The original text is sent, because parsing and formatting it could lose digits.
    const body = `{"channel":${JSON.stringify(channel)},"durable":${durable},"message":${message}}`;
    setStatus("publish-result", "");
    this.#pending = { channel, text, at: performance.now() };
    try {
      const { position } = await request("POST", "v1/publish", body);
      const result = byId("publish-result");
      result.textContent = `Published${position ? ` at ${position}` : ""}.${result.textContent}`;
    } catch (error) {
      this.#pending = null;
      setStatus("publish-result", error.message, "bad");
    }
  }
}
