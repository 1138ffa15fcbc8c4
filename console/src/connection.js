// Connecting as a user, its channels, and what comes.

import { ask } from "./api.js";
import { Line } from "./line.js";
import { byId, clock, element, onSubmit, say } from "./page.js";

const EMPTY = () => element("li", { class: "muted" }, "None yet.");

export class Connection {
  #line;
  #status;
  #as = null;
  #heard;

  // `status` gives the latest answer; `heard` is told of each message, `changed` of each change.
  constructor(frames, status, heard, changed) {
    this.#status = status;
    this.#heard = heard;
    this.#line = new Line({
      sent: (text, op) => frames.sent(text, op),
      received: (text, op) => frames.received(text, op),
      note: (text) => frames.note(text),
      message: (channel, text, message) => this.#message(channel, message),
      changed: (text, kind) => {
        this.#show(text, kind);
        changed();
      },
    });
    onSubmit("connect-form", () => this.#connect());
    onSubmit("subscribe-form", () => this.#line.subscribe(byId("subscribe-channel").value.trim()));
    byId("cut").addEventListener("click", () => this.#line.cut());
    byId("close").addEventListener("click", () => this.#line.close());
  }

  get roundTrip() {
    return this.#line.roundTrip;
  }

  // Whether a token must be given depends on the gateway.
  allow({ minting }) {
    this.#lock();
    byId("token").required = !minting;
    byId("token-hint").textContent = minting ? "(left empty: minted for this user)" : "(as the login service gives it)";
  }

  async #connect() {
    const status = this.#status();
    const [user, version] = [byId("user").value.trim(), Number(byId("protocol").value)];
    const wanted = byId("channels").value.split(",").map((name) => name.trim()).filter(Boolean);
    let token = byId("token").value;
    const as = JSON.stringify([user, version]);
    if (this.#as !== as) this.#line.forget();
    this.#as = as;
    try {
      if (!token) {
        const channels = status.auth === "jwt" ? wanted : [];
        ({ token } = await ask("POST", "v1/token", JSON.stringify({ user, channels })));
      }
    } catch (error) {
      return this.#show(error.message, "bad");
    }
    this.#line.open(status.socket_url, version, token, version === 2 ? wanted : []);
  }

  #message(channel, message) {
    const text = JSON.stringify(message);
    const time = element("span", { class: "muted" }, `${channel ?? "message"}, ${clock(new Date(), true)} `);
    byId("last-message").replaceChildren(time, element("code", {}, text));
    this.#list();
    this.#heard(channel, text);
  }

  #show(text, kind) {
    const { state } = this.#line;
    say("connection-state", text, kind);
    byId("connect").textContent = state === "cut" ? "Come back" : "Connect";
    this.#lock();
    this.#list();
  }

  // What can be done now is enabled. Where the socket goes is known once the gateway has answered.
  #lock() {
    const { state, version } = this.#line;
    byId("connect").disabled = !this.#status() || state === "connecting" || state === "ready";
    byId("cut").disabled = state !== "ready";
    byId("close").disabled = state !== "ready" && state !== "connecting";
    byId("subscribe").disabled = state !== "ready" || version !== 2;
  }

  #list() {
    const rows = [...this.#line.channels].map(([channel, { position, recovered, isRecovering }]) => {
      const row = element("li", {}, element("code", {}, channel));
      if (position) row.append(element("span", { class: "muted" }, position));
      if (isRecovering) row.append(element("span", { class: "warn" }, "recovering"));
      if (recovered !== undefined) {
        row.append(element("span", { class: recovered ? "good" : "bad" }, `recovered: ${recovered}`));
      }
      if (channel !== "all" && channel !== `user:${byId("user").value.trim()}` && this.#line.state === "ready") {
        const leave = element("button", { type: "button", class: "quiet small" }, "Leave");
        leave.setAttribute("aria-label", `Leave ${channel}`);
        leave.addEventListener("click", () => this.#line.unsubscribe(channel));
        row.append(leave);
      }
      return row;
    });
    byId("channel-list").replaceChildren(...(rows.length ? rows : [EMPTY()]));
  }
}
