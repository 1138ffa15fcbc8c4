// Publishes messages, checks them while they are typed, and shows the time until the console received them.

import { request } from "./api.js";
import { byteLength, formatBytes } from "./format.js";
import { jsonProblem, parseJson, prettyJson, readJson } from "./json.js";
import { byId, onSubmit, setStatus } from "./page.js";
import { channelProblem } from "./search.js";
import { Sent } from "./sent.js";
import { onView } from "./views.js";

const CHANNEL_HINT = "user:42 reaches one user, room:7 its subscribers, all every session.";

export class Publish {
  #pending = null;
  #sent = new Sent((entry) => this.#fill(entry), (entry) => this.#send(entry));

  constructor() {
    onSubmit("publish-form", () => this.#publishEntered());
    byId("publish-form").addEventListener("input", () => this.#check());
    byId("publish-message").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#publishEntered();
    });
    byId("publish-format").addEventListener("click", () => {
      byId("publish-message").value = prettyJson(byId("publish-message").value);
      this.#check();
    });
    onView((view, channel) => view === "publish" && channel && this.#setChannel(channel));
    document.addEventListener("visibilitychange", () => {
      if (this.#pending) this.#pending.wasHidden = true;
    });
    this.#check();
  }

  // Handles a message that the console's own socket received.
  handleMessage(channel, text) {
    const { entry, channel: expectedChannel, text: expectedText, at, wasHidden } = this.#pending ?? {};
    if (expectedText !== text || (channel ?? expectedChannel) !== expectedChannel) return;
    this.#pending = null;
    // Time in the background is not latency of the gateway.
    const took = wasHidden ? "" : ` after ${(performance.now() - at).toFixed(1)} ms`;
    byId("publish-result").textContent += ` Received here${took}.`;
    this.#sent.update(entry, { received: `received here${took}` });
  }

  #setChannel(channel) {
    byId("publish-channel").value = channel;
    this.#check();
  }

  #fill({ channel, message, durable }) {
    byId("publish-message").value = message;
    byId("publish-durable").checked = durable;
    this.#setChannel(channel);
    byId("publish-message").focus();
  }

  // Shows whether the fields are valid, without a refusal while the operator still types.
  #check() {
    const [channel, text] = [byId("publish-channel").value.trim(), byId("publish-message").value];
    const channelHint = channel && channelProblem(channel);
    setStatus("publish-channel-check", channelHint || CHANNEL_HINT, channelHint && "warn");
    const problem = text.trim() === "" ? "Empty" : jsonProblem(text).replace("The message is not valid JSON", "Not valid JSON");
    setStatus("publish-check", problem || `Valid JSON, ${formatBytes(byteLength(text))}`, problem && "warn");
    byId("publish-format").disabled = problem !== "";
  }

  #publishEntered() {
    const channel = byId("publish-channel").value.trim();
    const message = readJson("publish-message", "publish-result");
    if (message === null) return;
    const problem = channelProblem(channel);
    byId("publish-channel").setAttribute("aria-invalid", String(problem !== ""));
    if (problem) return setStatus("publish-result", problem, "bad");
    this.#send({ channel, message, durable: byId("publish-durable").checked });
  }

  async #send({ channel, message, durable }) {
    const text = JSON.stringify(parseJson(message));
    // The original text is sent, because parsing and formatting it could lose digits.
    const body = `{"channel":${JSON.stringify(channel)},"durable":${durable},"message":${message}}`;
    setStatus("publish-result", "");
    const entry = this.#sent.add({ channel, message, durable });
    this.#pending = { entry, channel, text, at: performance.now() };
    try {
      const { position } = await request("POST", "v1/publish", body);
      const result = byId("publish-result");
      result.textContent = `Published${position ? ` at ${position}` : ""}.${result.textContent}`;
      this.#sent.update(entry, { outcome: position ? `published at ${position}` : "published" });
    } catch (error) {
      this.#pending = null;
      const detail = error.status ? error.message : "The admin port does not answer.";
      setStatus("publish-result", detail, "bad");
      this.#sent.update(entry, { outcome: detail, failed: true });
    }
  }
}
