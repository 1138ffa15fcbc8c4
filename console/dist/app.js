// Made from console/src by console/build.mjs. Do not edit.

// page.js

// The page's elements, by their id, and making new ones. Texts are set as text, never as HTML: messages are foreign.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Says something at the head of the page; nothing takes it back. What stands there already is not said again, as a
// screen reader would at each look.
function show(text, kind = "") {
  const notice = byId("notice");
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
}

// Shows a text in one element of the page; `kind` is "bad" for an error, "warn", or nothing.
function say(id, text, kind = "") {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
  place.classList.remove("bad", "warn");
  if (kind) place.classList.add(kind);
}

// Formats a time of day; frames also show milliseconds.
const clock = (date, hasMilliseconds = false) =>
  date.toTimeString().slice(0, 8) + (hasMilliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

// A form is handled here and never sent: the page's policy forbids that, too.
function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle();
  });
}

const duration = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

const bytes = (count) => (count < 10240 ? `${count} B` : `${(count / 1024).toFixed(1)} KiB`);

let asked = 0;

// Asks before something is ended. Resolves to whether it is wanted.
function confirmed(text) {
  const dialog = byId("confirm-dialog");
  const number = ++asked;
  byId("confirm-text").textContent = text;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const onClose = () => {
      // A dialog says that it was closed a moment later. By then the next question may stand in it.
      if (dialog.open && number === asked) return;
      dialog.removeEventListener("close", onClose);
      resolve(number === asked && dialog.returnValue === "yes");
    };
    dialog.addEventListener("close", onClose);
  });
}

function prepareDialogs() {
  onSubmit("confirm-form", () => byId("confirm-dialog").close("yes"));
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close(""));
  }
}

// api.js

// The admin API. The key lives in this module's memory and goes nowhere but into the Authorization header.


let key = "";
let wasDismissed = false;

class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

// A worker may take two seconds; what takes longer than this does not come.
const PATIENCE_MS = 10_000;

async function ask(method, path, body) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  const json = await answer.json().catch(() => ({}));
  if (answer.ok) return json;
  const { code = "unknown", detail = `HTTP ${answer.status}` } = json.error ?? {};
  if (answer.status === 401) {
    byId("key-wrong").hidden = key === "";
    if (!wasDismissed) askForKey();
  }
  throw new ApiError(answer.status, code, detail);
}

function askForKey() {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  dialog.returnValue = "";
  dialog.showModal();
}

// Whether a wrong key was given.
const isKeyWrong = () => !byId("key-wrong").hidden;

// Calls `changed` with each new key.
function prepareKey(changed) {
  onSubmit("key-form", () => {
    key = byId("key").value.trim();
    byId("key").value = "";
    byId("key-wrong").hidden = true;
    byId("key-dialog").close("given");
    changed();
  });
  // Whoever does not have the key is not asked again every two seconds.
  byId("key-dialog").addEventListener("close", ({ target }) => (wasDismissed = target.returnValue !== "given"));
  byId("key-button").addEventListener("click", askForKey);
}

// line.js

// One WebSocket to the gateway and what is known of its channels. Cutting it and coming back continues where it was.

const BEAT_MS = 2_000;

// What a close code means, where its reason does not say it all (docs/protocol.md has them all).
const FINAL = new Set([4003, 4010]);

const hasLost = ({ channels = [] }) => channels.some(({ recovered }) => recovered === false);

class Line {
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

// connection.js

// Connecting as a user, its channels, and what comes.


const EMPTY = () => element("li", { class: "muted" }, "None yet.");

class Connection {
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

// frames.js

// Every frame of the console's socket, both ways, the latest first.


const KEPT = 500;
const NAMES = {
  0: "Hello", 1: "Identify", 2: "Ready", 3: "Message", 4: "Subscribe", 5: "Unsubscribe", 6: "Subscription",
  7: "Reconnect", 8: "Gap", 9: "Error", 10: "Heartbeat", 11: "Heartbeat ACK", 12: "Refresh", 13: "Refreshed",
};
const encoder = new TextEncoder();

// A token is nothing to be read over somebody's shoulder.
const masked = (text) => text.replace(/("token":)"(?:[^"\\]|\\.)*"/, '$1"…"');

class Frames {
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

  // What happens to the line itself.
  note(text) {
    this.#put("event", element("span", { class: "time" }, clock(new Date(), true)), element("span", { class: "event" }, text));
  }

  #add(kind, direction, text, op) {
    const isBeat = op === 10 || op === 11;
    this.#put(
      isBeat ? "heartbeat" : "frame",
      element("span", { class: "time" }, clock(new Date(), true)),
      element("span", { class: kind }, direction),
      element("span", {}, NAMES[op] ?? `op ${op}`),
      element("span", { class: "size" }, bytes(encoder.encode(text).length)),
      element("code", {}, masked(text)),
    );
  }

  #put(kind, ...parts) {
    this.#list.prepend(element("li", { class: kind }, ...parts));
    this.#count += 1;
    if (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
    byId("frames-count").textContent = `${this.#count} since the page was opened, the last ${KEPT} are kept`;
  }
}

// publish.js

// Publishing, and how long it took until this console heard it.


class Publish {
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

// sessions.js

// Who is connected to this replica, and ending their sessions.


const LIMIT = 200;
const LIST_EVERY_MS = 5_000;

class Sessions {
  #timer = 0;
  // Only the answer to the latest request is used.
  #asked = 0;
  // By session id. An existing row is reused, so that a click on it is not lost.
  #rows = new Map();

  constructor() {
    onSubmit("sessions-form", () => this.look());
    document.addEventListener("visibilitychange", () => this.look());
    byId("disconnect-user").addEventListener("click", () => this.#endUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
  }

  // Asks anew a moment after something has changed: a session that has just come or gone is there by then.
  soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), 300);
  }

  // Refreshes now, and regularly while the page is visible.
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const number = ++this.#asked;
    const user = this.#user();
    try {
      const query = new URLSearchParams(user ? { limit: LIMIT, user } : { limit: LIMIT });
      const { sessions, total, truncated } = await ask("GET", `v1/sessions?${query}`);
      if (number !== this.#asked) return;
      say("sessions-count", `${total} on this replica${truncated ? `, the newest ${sessions.length} shown` : ""}`);
      byId("sessions-region").classList.remove("stale");
      this.#list(sessions);
    } catch (error) {
      if (number !== this.#asked) return;
      // The status panel reports an unreachable gateway.
      if (error.status) say("sessions-count", error.message, "bad");
      if (error.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), LIST_EVERY_MS);
  }

  // The gateway does not answer: the list is from `since`.
  markStale(since) {
    if (since === null) return;
    byId("sessions-region").classList.add("stale");
    say("sessions-count", `Stale, from ${clock(since)}`, "warn");
  }

  #user() {
    return byId("sessions-user").value.trim();
  }

  #list(sessions) {
    // Whoever has come here by keyboard stays on the same session.
    const focused = document.activeElement?.dataset?.session;
    const rows = new Map(sessions.map((session) => [session.id, this.#row(session)]));
    this.#rows = rows;
    const table = byId("sessions");
    const isSame = table.children.length === rows.size && [...rows.values()].every((row, index) => table.children[index] === row);
    if (isSame) return;
    table.replaceChildren(...rows.values());
    if (focused) this.#focus(focused);
  }

  // The row of a session, reused if it exists.
  #row(session) {
    const hidden = session.subscriptions - session.channels.length;
    const channels = session.channels.join(", ") + (hidden > 0 ? ` and ${hidden} more` : "");
    const texts = [
      session.user ?? "not identified", channels || "none", duration(session.age_ms), bytes(session.queued_bytes),
      session.address ?? "unknown", String(session.version),
    ];
    const kinds = ["", "wrap", "number", "number", "", ""];
    const row = this.#rows.get(session.id) ?? this.#newRow(session, kinds);
    texts.forEach((text, index) => {
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
    const end = row.querySelector("button");
    end.setAttribute("aria-label", `Disconnect session ${session.id.slice(0, 8)} of ${session.user ?? "nobody yet"}`);
    end.onclick = () => this.#end(session);
    return row;
  }

  #newRow({ id }, kinds) {
    const end = element("button", { type: "button", class: "small danger", "data-session": id }, "Disconnect");
    const cells = kinds.map((kind) => element("td", { class: kind }));
    const name = element("td", {}, element("code", { title: id }, id.slice(0, 8)));
    return element("tr", {}, ...cells, name, element("td", {}, end));
  }

  // Or on the table, where that session has gone.
  #focus(session) {
    (document.querySelector(`[data-session="${session}"]`) ?? byId("sessions-region")).focus();
  }

  async #end({ id, user }) {
    const isWanted = await confirmed(`Session ${id.slice(0, 8)} of ${user ?? "nobody yet"} is closed with 4010, and does not come back by itself.`);
    // The list may have been drawn anew behind the dialog.
    this.#focus(id);
    if (isWanted) await this.#post(`v1/sessions/${id}/disconnect`);
  }

  async #endUser() {
    const user = this.#user();
    if (!(await confirmed(`All sessions of ${user} on this replica are closed with 4010.`))) return;
    await this.#post(`v1/users/${encodeURIComponent(user)}/disconnect`);
  }

  async #post(path) {
    try {
      await ask("POST", path);
    } catch (error) {
      say("sessions-count", error.message, "bad");
      return;
    }
    this.soon();
  }
}

// chart.js

// A chart of the last two minutes, with a scale, times, the value at the pointer, and a text for screen readers.


const SPAN_MS = 120_000;
// A longer time without a value is a gap in the curve.
const HOLE_MS = 7_000;
const WIDTH = 120;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Chart {
  // Values with their times; null if there is none.
  #points = [];
  #format;
  #name;
  #figure;
  #number = element("div", { class: "value" }, "–");
  #svg = shape("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = shape("path", { class: "area" });
  #curve = shape("path", { class: "curve" });
  #cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT });
  #top = element("span", { class: "top" });
  #bottom = element("span", { class: "bottom" });
  #from = element("span");
  #to = element("span");
  #hovered = element("div", { class: "hovered" });

  constructor(figure, format) {
    this.#format = format;
    this.#figure = figure;
    this.#name = figure.querySelector("figcaption").textContent;
    const ground = shape("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.#svg.append(ground, this.#area, this.#curve);
    this.#svg.setAttribute("aria-label", `${this.#name}: nothing yet`);
    const plot = element("div", { class: "plot" }, this.#svg, this.#top, this.#bottom, this.#hovered);
    // The label of the curve has them as text.
    const times = element("div", { class: "times", "aria-hidden": "true" }, this.#from, this.#to);
    for (const part of [this.#top, this.#bottom, this.#hovered]) part.setAttribute("aria-hidden", "true");
    plot.addEventListener("pointermove", (event) => this.#hover(event));
    plot.addEventListener("pointerleave", () => this.#leave());
    figure.append(this.#number, plot, times);
  }

  // Adds a value; null if there is none. `remark` is shown next to the number.
  add(value, remark = "") {
    const text = value === null ? "–" : this.#format(value);
    this.#figure.classList.remove("stale");
    this.#put(value);
    this.#number.replaceChildren(text);
    if (remark) this.#number.append(" ", element("small", {}, remark));
    this.#svg.setAttribute("aria-label", `${this.#name}: ${text} ${remark}${this.#range()}`);
  }

  // The gateway does not answer: the number is from `since`.
  markStale(since) {
    this.#put(null);
    if (this.#figure.classList.contains("stale") || since === null) return;
    this.#figure.classList.add("stale");
    const text = this.#number.firstChild?.textContent ?? "–";
    this.#number.replaceChildren(text, " ", element("small", {}, `stale, from ${clock(since)}`));
    this.#svg.setAttribute("aria-label", `${this.#name}: stale, ${text} at ${clock(since)}${this.#range()}`);
  }

  #put(value) {
    const now = Date.now();
    this.#points.push({ at: now, value });
    this.#points = this.#points.filter(({ at }) => at > now - SPAN_MS);
    this.#draw(now);
  }

  #known() {
    return this.#points.filter(({ value }) => value !== null).map(({ value }) => value);
  }

  #range() {
    const known = this.#known();
    const [least, most] = [Math.min(...known), Math.max(...known)].map(this.#format);
    return known.length ? `, between ${least} and ${most} in the last two minutes` : "";
  }

  #draw(now) {
    const known = this.#known();
    const most = Math.max(1e-9, ...known);
    const start = now - SPAN_MS;
    let [curve, area, beginning, last, before] = ["", "", null, 0, 0];
    const finish = () => {
      if (beginning !== null) area += `L${last} ${HEIGHT}L${beginning} ${HEIGHT}Z`;
      beginning = null;
    };
    for (const point of this.#points) {
      if (point.value === null || point.at - before > HOLE_MS) finish();
      before = point.at;
      if (point.value === null) continue;
      last = (((point.at - start) / SPAN_MS) * WIDTH).toFixed(1);
      const y = (HEIGHT - 1 - (point.value / most) * (HEIGHT - 3)).toFixed(1);
      Object.assign(point, { x: Number(last), y });
      // The first of a row is drawn as a dot, until there is a second one.
      const piece = beginning === null ? `M${last} ${y}h.01` : `L${last} ${y}`;
      if (beginning === null) beginning = last;
      curve += piece;
      area += piece;
    }
    finish();
    this.#curve.setAttribute("d", curve);
    this.#area.setAttribute("d", area);
    this.#top.textContent = known.length ? this.#format(most < 1e-6 ? 0 : most) : "";
    this.#bottom.textContent = known.length && most >= 1e-6 ? this.#format(0) : "";
    [this.#from.textContent, this.#to.textContent] = [clock(new Date(start)), clock(new Date(now))];
  }

  // Shows the value nearest to the pointer, with its time.
  #hover(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDTH;
    const drawn = this.#points.filter(({ value }) => value !== null);
    if (drawn.length === 0) return this.#leave();
    const near = drawn.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best));
    this.#cursor.setAttribute("x1", near.x);
    this.#cursor.setAttribute("x2", near.x);
    this.#svg.append(this.#cursor);
    this.#hovered.textContent = `${this.#format(near.value)} at ${clock(new Date(near.at))}`;
  }

  #leave() {
    this.#cursor.remove();
    this.#hovered.textContent = "";
  }
}

// status.js

// The head of the page and its charts: asked for every two seconds, while somebody looks.


const EVERY_MS = 2_000;
const whole = (value) => String(Math.round(value));
const short = (value) => (value >= 100 ? whole(value) : value.toFixed(1));

class Status {
  // The latest answer.
  now = null;
  #before = null;
  // When that was.
  #since = null;
  #timer = 0;
  #changed;
  #failed;
  #roundTrip;
  #charts = {
    connections: new Chart(byId("chart-connections"), whole),
    deliveries: new Chart(byId("chart-deliveries"), short),
    latency: new Chart(byId("chart-latency"), (ms) => `${short(ms)} ms`),
    link: new Chart(byId("chart-link"), (up) => (up ? "up" : "down")),
  };

  // `changed` gets each answer, `failed` the time of the last answer if there is none; `roundTrip` returns the latency
  // measured on the console's own socket.
  constructor(changed, failed, roundTrip) {
    this.#changed = changed;
    this.#failed = failed;
    this.#roundTrip = roundTrip;
    document.addEventListener("visibilitychange", () => this.look());
  }

  // Asks now, and from now on.
  async look() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      this.#take(await ask("GET", "v1/status"));
    } catch (error) {
      this.#fail(error);
      // After a missing or wrong key, no more requests are sent until another key is entered.
      if (error.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), EVERY_MS);
  }

  #take(status) {
    const at = performance.now();
    this.now = status;
    this.#since = new Date();
    const { connections, deliveries, latency, link } = this.#charts;
    connections.add(status.connections, status.users === 1 ? "1 user" : `${status.users} users`);
    deliveries.add(this.#rate(status, at));
    const probe = status.link.probe_ms === null ? "" : `link ${short(status.link.probe_ms)} ms`;
    latency.add(this.#roundTrip(), probe);
    link.add(status.link.up ? 1 : 0, status.broker);
    this.#before = { at, delivered: status.publications_delivered };
    byId("deployment").textContent =
      `Version ${status.version}, ${status.profile}, sockets on ${status.public_addr}, up ${duration(status.uptime_ms)}`;
    const [text, kind] = status.draining ? ["Draining", "warn"] : status.ready ? ["Ready", "good"] : ["Not ready", "bad"];
    pill(text, kind, [...status.reasons, ...status.notes].join("; "));
    this.#changed(status);
  }

  // Null for the first answer, after a restart, and after a time in the background.
  #rate(status, at) {
    const before = this.#before;
    const isOld = before === null || at - before.at > 3 * EVERY_MS;
    const more = isOld ? -1 : status.publications_delivered - before.delivered;
    return more < 0 ? null : (more * 1000) / (at - before.at);
  }

  #fail(error) {
    this.#before = null;
    for (const chart of Object.values(this.#charts)) chart.markStale(this.#since);
    this.#failed(this.#since);
    const seen = this.#since ? ` The figures are from ${clock(this.#since)}.` : "";
    if (error.status === 401 && isKeyWrong()) {
      pill("Wrong key", "bad", `This gateway has another key. Enter the right one.${seen}`);
    } else if (error.status === 401) {
      pill("Key needed", "warn", `This gateway requires its admin key.${seen}`);
    } else if (error.status) {
      pill("Refused", "bad", `${error.message}.${seen}`);
    } else {
      pill("No answer", "bad", `The admin port does not answer. Retrying.${seen}`);
    }
  }
}

// The state in one or two words, and what is to be said of it.
function pill(text, kind, reasons) {
  const health = byId("health");
  if (health.textContent !== text) health.textContent = text;
  health.className = `pill ${kind}`;
  show(reasons, kind);
}

// main.js

// The console: the parts of the page, put together.


prepareDialogs();
const frames = new Frames();
const publish = new Publish();
const sessions = new Sessions();
const status = new Status((now) => connection.allow(now), (since) => sessions.markStale(since), () => connection.roundTrip);
const connection = new Connection(frames, () => status.now, (channel, text) => publish.heard(channel, text), () => sessions.soon());
prepareKey(() => {
  status.look();
  sessions.look();
});
status.look();
sessions.look();
