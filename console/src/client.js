// One WebSocket to the gateway and the state of its channels. After a cut, the next connection resumes each channel.

import { parseJson } from "./json.js";

const HEARTBEAT_INTERVAL_MS = 2_000;

// The close codes after which a client must not reconnect (docs/protocol.md).
const FINAL_CODES = new Set([4003, 4010]);

// Browsers report an unreachable gateway and a refused handshake with the same code, 1006.
const REFUSED = "Not connected: the gateway is unreachable or refused the connection. "
  + "server.allowed_origins must contain this page's origin.";

const hasLost = ({ channels = [] }) => channels.some(({ recovered }) => recovered === false);

// The inbox takes each id of a user once, so the ids of two consoles must differ.
const randomId = () => crypto.getRandomValues(new BigUint64Array(1))[0].toString(16);

export class Client {
  // "idle", "connecting", "ready", "cut" or "closed".
  state = "idle";
  version = 2;
  // By name: the position up to which everything was received, whether it was recovered, and whether the gateway still
  // has to read the history.
  channels = new Map();
  // The latest round trip, in milliseconds.
  roundTrip = null;
  #socket = null;
  #heartbeatTimer = 0;
  #pendingSince = null;
  // When the timer last fired. Timers stop while the page is in the background or the machine sleeps.
  #lastTick = 0;
  #events;

  // `events` has the methods sent(text, op), received(text, op), note(text), changed(text, kind) and
  // message(channel, text, message).
  constructor(events) {
    this.#events = events;
    // Time in the background is not latency of the gateway, so a pending heartbeat is not measured.
    document.addEventListener("visibilitychange", () => (this.#pendingSince = null));
  }

  // Connects and subscribes to the `requested` channels. Channels that are already known are resumed.
  open(url, version, token, requested) {
    this.#dropSocket();
    this.version = version;
    for (const channel of requested) if (!this.channels.has(channel)) this.channels.set(channel, { position: null });
    this.#setState("connecting", "Connecting…");
    let socket;
    try {
      socket = new WebSocket(version === 2 ? `${url}?v=2` : url);
    } catch (error) {
      return this.#setState("closed", error.message, "bad");
    }
    this.#socket = socket;
    const ifCurrent = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onmessage = ifCurrent(({ data }) => this.#handleFrame(data, token));
    socket.onclose = ifCurrent(({ code, reason }) => this.#handleClose(code, reason));
  }

  // Drops the connection, as a network failure does. The positions are kept.
  cut() {
    this.#dropSocket();
    this.#events.note("connection cut");
    this.#setState("cut", "The connection is cut. Publish a durable message, then reconnect.");
  }

  // Closes the connection and forgets all positions.
  close() {
    this.#dropSocket();
    this.channels.clear();
    this.#events.note("closed by this console");
    this.#setState("closed", "Closed.");
  }

  // Forgets all positions, because they belong to another user.
  clearChannels() {
    this.channels.clear();
  }

  subscribe(channel) {
    this.#send({ op: 4, channel });
  }

  unsubscribe(channel) {
    this.#send({ op: 5, channel });
  }

  // Sends a message for the backend, or a signal for the channel's other sessions. The JSON is sent as it was entered.
  sendMessage(channel, json) {
    this.#sendText(`{"op":16,"id":"${randomId()}","channel":${JSON.stringify(channel)},"message":${json}}`, 16);
  }

  sendSignal(channel, json) {
    this.#sendText(`{"op":18,"channel":${JSON.stringify(channel)},"signal":${json}}`, 18);
  }

  #handleFrame(text, token) {
    const frame = parseJson(text);
    this.#events.received(text, frame.op);
    switch (frame.op) {
      case 0:
        this.#identify(token);
        break;
      case 2:
        for (const one of frame.channels ?? []) this.#updateChannel(one);
        this.#heartbeatTimer = setInterval(() => this.#measureRoundTrip(), HEARTBEAT_INTERVAL_MS);
        this.#measureRoundTrip();
        this.#setState("ready", `Connected as ${frame.user}${this.#describeRecovery(frame)}.`, hasLost(frame) ? "warn" : "");
        break;
      case 3:
        if (frame.position) this.channels.set(frame.channel, { ...this.channels.get(frame.channel), position: frame.position });
        this.#events.message(frame.channel, text, frame.message);
        break;
      case 6:
        this.#handleSubscription(frame);
        break;
      case 7:
        this.#setState(this.state, `This replica is shutting down (${frame.reason}).`, "warn");
        break;
      case 8:
        this.#setState(this.state, `${frame.channel}: messages may be missing (${frame.reason}).`, "warn");
        break;
      case 9:
        this.#setState(this.state, frame.detail ?? frame.code, "bad");
        break;
      case 10:
        this.#send({ op: 11, time: frame.time });
        break;
      case 11:
        if (this.#pendingSince !== null && !this.#wasSuspended()) this.roundTrip = performance.now() - this.#pendingSince;
        this.#pendingSince = null;
        break;
      case 17:
        this.#setState(this.state, "The inbox has the message.");
        break;
    }
  }

  #identify(token) {
    const channels = [...this.channels].map(([channel, { position }]) => {
      return position === null ? { channel } : { channel, since: position };
    });
    this.#send(this.version === 2 ? { op: 1, token, channels } : { op: 1, token });
  }

  #handleSubscription({ channel, state, reason, ...rest }) {
    if (state === "subscribed" || state === "recovering") this.#updateChannel({ channel, state, ...rest });
    else this.channels.delete(channel);
    const why = reason ? ` (${reason})` : "";
    const how = state === "subscribed" ? this.#describeRecovery({ channels: [{ channel, ...rest }] }) : "";
    const isError = state !== "subscribed" && state !== "recovering" && state !== "unsubscribed";
    this.#setState(this.state, `${channel}: ${state}${why}${how}`, isError ? "bad" : rest.recovered === false ? "warn" : "");
  }

  // A recovering channel keeps the position that was sent in Identify, so that it is sent again after a cut.
  #updateChannel({ channel, state, position = null, recovered }) {
    this.channels.set(channel, { position, recovered, isRecovering: state === "recovering" });
  }

  #describeRecovery({ channels = [] }) {
    const names = (which) => channels.filter(which).map(({ channel }) => channel).join(", ");
    const recovering = names(({ state }) => state === "recovering");
    const lost = names(({ recovered }) => recovered === false);
    const isWhole = !recovering && !lost && names(({ recovered }) => recovered);
    const lists = [lost && `; not recovered: ${lost}`, recovering && `; recovering: ${recovering}`];
    return isWhole ? "; all durable messages recovered" : lists.join("");
  }

  // The gateway answers a heartbeat before queued messages, so the round trip does not include their delivery.
  #measureRoundTrip() {
    if (document.hidden || this.#wasSuspended()) this.#pendingSince = null;
    this.#lastTick = performance.now();
    if (this.#pendingSince !== null || document.hidden) return;
    this.#pendingSince = performance.now();
    this.#send({ op: 10, time: Date.now() });
  }

  #wasSuspended() {
    return performance.now() - this.#lastTick > 2 * HEARTBEAT_INTERVAL_MS;
  }

  #send(frame) {
    this.#sendText(JSON.stringify(frame), frame.op);
  }

  #sendText(text, op) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(text);
    this.#events.sent(text, op);
  }

  #handleClose(code, reason) {
    this.#dropSocket();
    this.#events.note(`closed by the gateway: ${code} ${reason}`);
    const text = code === 1006 ? REFUSED : `Closed: ${code} ${reason}`;
    if (FINAL_CODES.has(code)) this.channels.clear();
    this.#setState(FINAL_CODES.has(code) ? "closed" : "cut", text, "bad");
  }

  #dropSocket() {
    clearInterval(this.#heartbeatTimer);
    const socket = this.#socket;
    [this.#socket, this.#pendingSince, this.roundTrip] = [null, null, null];
    socket?.close();
  }

  #setState(state, text, kind = "") {
    this.state = state;
    this.#events.changed(text, kind);
  }
}
