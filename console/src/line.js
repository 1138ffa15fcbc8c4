// One WebSocket to the gateway and what is known of its channels. Cutting it and coming back continues where it was.

const BEAT_MS = 2_000;

// What a close code means, where its reason does not say it all (docs/protocol.md has them all).
const FINAL = new Set([4003, 4010]);

const hasLost = ({ channels = [] }) => channels.some(({ recovered }) => recovered === false);

export class Line {
  // "away", "connecting", "ready", "cut" or "closed".
  state = "away";
  version = 2;
  // By name: the position up to which everything has been heard, whether it was recovered, and whether
  // the gateway still has to read its history.
  channels = new Map();
  // The latest round trip, in milliseconds.
  roundTrip = null;
  #socket = null;
  #beat = 0;
  #beaten = null;
  // When the last beat was due. Timers stop while the page is in the background or the machine sleeps.
  #ticked = 0;
  #told;

  // `told` has methods: sent, received (text, op), note (text), changed (text, kind), message (channel, text).
  constructor(told) {
    this.#told = told;
    // Time in the background is not latency of the gateway, so pending messages are not measured.
    document.addEventListener("visibilitychange", () => (this.#beaten = null));
  }

  // Connects. `wanted` lists channels; those known from before are continued.
  open(url, version, token, wanted) {
    this.#drop();
    this.version = version;
    for (const channel of wanted) if (!this.channels.has(channel)) this.channels.set(channel, { position: null });
    this.#set("connecting", "Connecting…");
    let socket;
    try {
      socket = new WebSocket(version === 2 ? `${url}?v=2` : url);
    } catch (error) {
      return this.#set("closed", error.message, "bad");
    }
    this.#socket = socket;
    const own = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onmessage = own(({ data }) => this.#hear(data, token));
    socket.onclose = own(({ code, reason }) => this.#end(code, reason));
  }

  // As when a network goes away: nothing more is heard, and what was heard is remembered.
  cut() {
    this.#drop();
    this.#told.note("the line is cut");
    this.#set("cut", "The line is cut. Publish something durable, then come back.");
  }

  // For good: nothing is continued.
  close() {
    this.#drop();
    this.channels.clear();
    this.#told.note("closed by this console");
    this.#set("closed", "Closed.");
  }

  // Whoever connects as somebody else continues nothing.
  forget() {
    this.channels.clear();
  }

  subscribe(channel) {
    this.#say({ op: 4, channel });
  }

  unsubscribe(channel) {
    this.#say({ op: 5, channel });
  }

  #hear(text, token) {
    const frame = JSON.parse(text);
    this.#told.received(text, frame.op);
    switch (frame.op) {
      case 0:
        this.#identify(token);
        break;
      case 2:
        for (const one of frame.channels ?? []) this.#stands(one);
        this.#beat = setInterval(() => this.#measure(), BEAT_MS);
        this.#measure();
        this.#set("ready", `Connected as ${frame.user}${this.#recovery(frame)}.`, hasLost(frame) ? "warn" : "");
        break;
      case 3:
        if (frame.position) this.channels.set(frame.channel, { ...this.channels.get(frame.channel), position: frame.position });
        this.#told.message(frame.channel, text, frame.message);
        break;
      case 6:
        this.#subscription(frame);
        break;
      case 7:
        this.#set(this.state, `This replica is shutting down (${frame.reason}).`, "warn");
        break;
      case 8:
        this.#set(this.state, `${frame.channel}: messages may be missing (${frame.reason}).`, "warn");
        break;
      case 9:
        this.#set(this.state, frame.detail ?? frame.code, "bad");
        break;
      case 10:
        this.#say({ op: 11, time: frame.time });
        break;
      case 11:
        if (this.#beaten !== null && !this.#wasAway()) this.roundTrip = performance.now() - this.#beaten;
        this.#beaten = null;
        break;
    }
  }

  #identify(token) {
    const channels = [...this.channels].map(([channel, { position }]) => {
      return position === null ? { channel } : { channel, since: position };
    });
    this.#say(this.version === 2 ? { op: 1, token, channels } : { op: 1, token });
  }

  #subscription({ channel, state, reason, ...standing }) {
    if (state === "subscribed" || state === "recovering") this.#stands({ channel, state, ...standing });
    else this.channels.delete(channel);
    const why = reason ? ` (${reason})` : "";
    const how = state === "subscribed" ? this.#recovery({ channels: [{ channel, ...standing }] }) : "";
    const isError = state !== "subscribed" && state !== "recovering" && state !== "unsubscribed";
    this.#set(this.state, `${channel}: ${state}${why}${how}`, isError ? "bad" : standing.recovered === false ? "warn" : "");
  }

  // A channel that recovers keeps the position that was sent, if there was one: it is sent again after a cut.
  #stands({ channel, state, position = null, recovered }) {
    this.channels.set(channel, { position, recovered, isRecovering: state === "recovering" });
  }

  #recovery({ channels = [] }) {
    const names = (which) => channels.filter(which).map(({ channel }) => channel).join(", ");
    const recovering = names(({ state }) => state === "recovering");
    const lost = names(({ recovered }) => recovered === false);
    const isWhole = !recovering && !lost && names(({ recovered }) => recovered);
    const lists = [lost && `; not recovered: ${lost}`, recovering && `; recovering: ${recovering}`];
    return isWhole ? "; everything durable was recovered" : lists.join("");
  }

  // A heartbeat of ours is answered at once, before anything else that waits here: the time is the gateway's.
  #measure() {
    if (document.hidden || this.#wasAway()) this.#beaten = null;
    this.#ticked = performance.now();
    if (this.#beaten !== null || document.hidden) return;
    this.#beaten = performance.now();
    this.#say({ op: 10, time: Date.now() });
  }

  #wasAway() {
    return performance.now() - this.#ticked > 2 * BEAT_MS;
  }

  #say(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.#told.sent(text, frame.op);
  }

  #end(code, reason) {
    this.#drop();
    this.#told.note(`closed by the gateway: ${code} ${reason}`);
    const why = code === 1006 ? "No connection, or it was refused (is this page's origin in server.allowed_origins?)" : `Closed: ${code} ${reason}`;
    if (FINAL.has(code)) this.channels.clear();
    this.#set(FINAL.has(code) ? "closed" : "cut", why, "bad");
  }

  #drop() {
    clearInterval(this.#beat);
    const socket = this.#socket;
    [this.#socket, this.#beaten, this.roundTrip] = [null, null, null];
    socket?.close();
  }

  #set(state, text, kind = "") {
    this.state = state;
    this.#told.changed(text, kind);
  }
}
