// Connects as a user, shows its channels, and sends messages and signals.

import { request } from "./api.js";
import { Client } from "./client.js";
import { readJson } from "./json.js";
import { byId, element, onSubmit, setStatus, setText } from "./page.js";

const EMPTY = () => element("li", { class: "muted" }, "None yet.");
const SOCKET_TEXTS = { idle: "Not connected", connecting: "Connecting…", cut: "Disconnected", closed: "Not connected" };

export class Connection {
  #client;
  #status;
  #identity = null;
  #onMessage;

  // `status` returns the latest status. `onMessage` is called for each message, `onChange` for each change of state.
  constructor(frames, status, onMessage, onChange) {
    this.#status = status;
    this.#onMessage = onMessage;
    this.#client = new Client({
      sent: (text, op) => frames.sent(text, op),
      received: (text, op) => frames.received(text, op),
      note: (text) => frames.note(text),
      message: (channel, text, message) => this.#handleMessage(channel, message),
      changed: (text, kind) => {
        this.#showState(text, kind);
        onChange();
      },
    });
    onSubmit("connect-form", () => this.#connect());
    onSubmit("subscribe-form", () => this.#client.subscribe(byId("subscribe-channel").value.trim()));
    onSubmit("send-form", ({ submitter }) => this.#sendEntered(submitter?.id === "send-signal"));
    byId("cut").addEventListener("click", () => this.#client.cut());
    byId("close").addEventListener("click", () => this.#client.close());
  }

  get roundTrip() {
    return this.#client.roundTrip;
  }

  // A token is required unless the gateway mints one.
  updateStatus({ minting }) {
    this.#updateButtons();
    byId("token").required = !minting;
    byId("token-hint").textContent = minting ? "(optional: the gateway mints one)" : "(from your login service)";
  }

  async #connect() {
    const status = this.#status();
    const [user, version] = [byId("user").value.trim(), Number(byId("protocol").value)];
    const requested = byId("channels").value.split(",").map((name) => name.trim()).filter(Boolean);
    let token = byId("token").value;
    const identity = JSON.stringify([user, version]);
    if (this.#identity !== identity) this.#client.clearChannels();
    this.#identity = identity;
    try {
      if (!token) {
        const channels = status.auth === "jwt" ? requested : [];
        ({ token } = await request("POST", "v1/token", JSON.stringify({ user, channels })));
      }
    } catch (error) {
      return this.#showState(error.message, "bad");
    }
    this.#client.open(status.socket_url, version, token, version === 2 ? requested : []);
  }

  #handleMessage(channel, message) {
    this.#renderChannels();
    this.#onMessage(channel, JSON.stringify(message));
  }

  #sendEntered(isSignal) {
    const json = readJson("send-message", "connection-state");
    if (json === null) return;
    const channel = byId("send-channel").value.trim();
    if (isSignal) this.#client.sendSignal(channel, json);
    else this.#client.sendMessage(channel, json);
  }

  #showState(text, kind) {
    const { state } = this.#client;
    setStatus("connection-state", text, kind);
    setText(byId("socket-state"), SOCKET_TEXTS[state] ?? `Connected as ${byId("user").value.trim()}`);
    byId("socket-state").dataset.state = state;
    byId("connect").textContent = state === "cut" ? "Reconnect" : "Connect";
    this.#updateButtons();
    this.#renderChannels();
  }

  // Enables the buttons for the current state. The address of the socket is in the status.
  #updateButtons() {
    const { state, version } = this.#client;
    byId("connect").disabled = !this.#status() || state === "connecting" || state === "ready";
    byId("cut").disabled = state !== "ready";
    byId("close").disabled = state !== "ready" && state !== "connecting";
    for (const id of ["subscribe", "send", "send-signal"]) byId(id).disabled = state !== "ready" || version !== 2;
  }

  #renderChannels() {
    const rows = [...this.#client.channels].map(([channel, { position, recovered, isRecovering }]) => {
      const facts = element("div", {}, element("code", {}, channel), element("br"));
      if (position) facts.append(element("span", { class: "muted" }, position));
      if (isRecovering) facts.append(element("span", { class: "warn" }, "recovering"));
      if (recovered !== undefined) {
        facts.append(element("span", { class: recovered ? "good" : "bad" }, `recovered: ${recovered}`));
      }
      const row = element("li", {}, facts);
      if (channel !== "all" && channel !== `user:${byId("user").value.trim()}` && this.#client.state === "ready") {
        const button = element("button", { type: "button", class: "quiet small" }, "Unsubscribe");
        button.setAttribute("aria-label", `Unsubscribe from ${channel}`);
        button.addEventListener("click", () => this.#client.unsubscribe(channel));
        row.append(button);
      }
      return row;
    });
    byId("channel-list").replaceChildren(...(rows.length ? rows : [EMPTY()]));
  }
}
