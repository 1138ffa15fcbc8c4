// Publishing, and how long it took until this console heard it.

import { ask } from "./api.js";
import { byId, onSubmit, say } from "./page.js";

export class Publish {
  #waiting = null;

  constructor() {
    onSubmit("publish-form", () => this.#publish());
    document.addEventListener("visibilitychange", () => {
      if (this.#waiting) this.#waiting.wasAway = true;
    });
  }

  // The console's own socket has heard a message.
  heard(channel, text) {
    const { channel: wanted, text: expected, at, wasAway } = this.#waiting ?? {};
    if (expected !== text || (channel ?? wanted) !== wanted) return;
    this.#waiting = null;
    // Time in the background is not latency of the gateway.
    const took = wasAway ? "" : ` after ${(performance.now() - at).toFixed(1)} ms`;
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
      return say("publish-result", `The message is not JSON: ${error.message}`, "bad");
    }
    // As it was written: what is parsed and written again may lose digits.
    const body = `{"channel":${JSON.stringify(channel)},"durable":${durable},"message":${message}}`;
    say("publish-result", "");
    this.#waiting = { channel, text, at: performance.now() };
    try {
      const { position } = await ask("POST", "v1/publish", body);
      const result = byId("publish-result");
      result.textContent = `Published${position ? ` at ${position}` : ""}.${result.textContent}`;
    } catch (error) {
      this.#waiting = null;
      say("publish-result", error.message, "bad");
    }
  }
}
