// Publishes messages, and shows the time until the console received them.

import { request } from "./api.js";
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
    const [channel, message] = [byId("publish-channel").value.trim(), byId("publish-message").value];
    const durable = byId("publish-durable").checked;
    const field = byId("publish-message");
    let text;
    try {
      text = JSON.stringify(JSON.parse(message));
      field.removeAttribute("aria-invalid");
    } catch (error) {
      field.setAttribute("aria-invalid", "true");
      return setStatus("publish-result", `The message is not valid JSON: ${error.message}`, "bad");
    }
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
