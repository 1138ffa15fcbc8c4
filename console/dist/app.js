// Built from console/src by console/build.mjs. Do not edit.

// page.js

// Access to the page's elements. Texts are always set as text, never as HTML, because messages are untrusted.

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

// Shows a notice at the top of the page; an empty text hides it. An unchanged text is not set again, because screen
// readers would repeat it.
function showNotice(text, kind = "") {
  const notice = byId("notice");
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
}

// Shows a text in one element of the page; `kind` is "bad" for an error, "warn", or nothing.
function setStatus(id, text, kind = "") {
  const target = byId(id);
  if (target.textContent !== text) target.textContent = text;
  target.classList.remove("bad", "warn");
  if (kind) target.classList.add(kind);
}

// Formats a time of day.
const formatTime = (date, hasMilliseconds = false) =>
  date.toTimeString().slice(0, 8) + (hasMilliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

// Handles a form without submitting it, which the content security policy forbids. `handle` gets the event.
function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle(event);
  });
}

const formatDuration = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

const formatBytes = (count) => (count < 10240 ? `${count} B` : `${(count / 1024).toFixed(1)} KiB`);

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

let questions = 0;

// Asks for confirmation of an action, such as "Disconnect". Resolves to the entered reason if the user confirms, and
// otherwise to null.
function confirmAction(action, text, hasReason) {
  const dialog = byId("confirm-dialog");
  const number = ++questions;
  byId("confirm-title").textContent = `${action}?`;
  byId("confirm-button").textContent = action;
  byId("confirm-text").textContent = text;
  byId("confirm-reason-label").hidden = !hasReason;
  byId("confirm-reason").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const onClose = () => {
      // The close event arrives later than the close itself. By then the dialog may show the next question.
      if (dialog.open && number === questions) return;
      dialog.removeEventListener("close", onClose);
      const isConfirmed = number === questions && dialog.returnValue === "yes";
      resolve(isConfirmed ? byId("confirm-reason").value.trim() : null);
    };
    dialog.addEventListener("close", onClose);
  });
}

function initDialogs() {
  onSubmit("confirm-form", () => byId("confirm-dialog").close("yes"));
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close(""));
  }
}

// json.js

// JSON whose large integers keep their digits. JSON.parse alone would round them.


// Browsers without JSON.rawJSON show rounded numbers.
function keepDigits(key, value, context) {
  const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && JSON.rawJSON && context?.source ? JSON.rawJSON(context.source) : value;
}

const parseJson = (text) => JSON.parse(text, keepDigits);

// Returns the JSON in a field, or null if it is invalid: then the field is marked, and the status shows why.
function readJson(id, statusId) {
  const field = byId(id);
  try {
    parseJson(field.value);
  } catch (error) {
    field.setAttribute("aria-invalid", "true");
    setStatus(statusId, `The message is not valid JSON: ${error.message}`, "bad");
    return null;
  }
  field.removeAttribute("aria-invalid");
  return field.value;
}

// api.js

// The admin API. The key stays in this module's memory and is sent only in the Authorization header.


let key = "";
let wasDismissed = false;

class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

// The gateway answers within five seconds, even if a replica does not respond.
const REQUEST_TIMEOUT_MS = 10_000;

async function request(method, path, body) {
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const answer = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  const json = await answer.text().then(parseJson).catch(() => ({}));
  if (answer.ok) return json;
  const { code = "unknown", detail = `HTTP ${answer.status}` } = json.error ?? {};
  if (answer.status === 401) {
    byId("key-wrong").hidden = key === "";
    if (!wasDismissed) showKeyDialog();
  }
  throw new ApiError(answer.status, code, detail);
}

function showKeyDialog() {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  dialog.returnValue = "";
  dialog.showModal();
}

// Whether the gateway rejected the last key.
const isKeyWrong = () => !byId("key-wrong").hidden;

// Calls `changed` after each new key.
function initKeyDialog(changed) {
  onSubmit("key-form", () => {
    key = byId("key").value.trim();
    byId("key").value = "";
    byId("key-wrong").hidden = true;
    byId("key-dialog").close("entered");
    changed();
  });
  // After "Cancel" the dialog does not reopen with the next request.
  byId("key-dialog").addEventListener("close", ({ target }) => (wasDismissed = target.returnValue !== "entered"));
  byId("key-button").addEventListener("click", showKeyDialog);
}

// feed.js

// Data that the page requests regularly while it is visible.


const feeds = [];

const refreshFeeds = () => feeds.forEach((feed) => feed.refresh());
const markFeedsStale = () => feeds.forEach((feed) => feed.markStale());

document.addEventListener("visibilitychange", refreshFeeds);

// A request that the gateway refuses is not repeated until the operator changes something.
const isRefusal = ({ status }) => status >= 400 && status < 500;

class Feed {
  #name;
  #interval;
  #load;
  #show;
  #settingHint;
  #timer = 0;
  #isActive = false;
  // Only the answer to the latest request is used.
  #latestRequest = 0;
  // The time of the latest answer.
  #since = null;

  // `name`: the elements `<name>-status` and `<name>-region` show the state of the data. `load` returns the promise of
  // an answer. `show` shows an answer, and returns the text of the status and its kind. `settingHint` returns the text
  // for data that the settings turn off.
  constructor(name, interval, load, show, settingHint = null) {
    [this.#name, this.#interval, this.#load, this.#show, this.#settingHint] = [name, interval, load, show, settingHint];
    feeds.push(this);
  }

  start() {
    this.#isActive = true;
    this.refresh();
  }

  // Stops, and forgets the state of the data.
  stop() {
    this.#isActive = false;
    this.#latestRequest += 1;
    this.#since = null;
    clearTimeout(this.#timer);
    this.#setStale(false);
    setStatus(`${this.#name}-status`, "");
  }

  // Refreshes after a short delay, so that a session that has just begun or ended is shown correctly.
  refreshSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), 300);
  }

  // Refreshes now, and then regularly.
  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden || !this.#isActive) return;
    const number = ++this.#latestRequest;
    const [answer, error] = await this.#load().then((answer) => [answer], (error) => [null, error]);
    if (number !== this.#latestRequest) return;
    if (error) {
      this.markStale(error);
      if (isRefusal(error)) return;
    } else {
      this.#since = new Date();
      this.#setStale(false);
      setStatus(`${this.#name}-status`, ...this.#show(answer));
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), this.#interval);
  }

  // Marks the data as stale, as of the latest answer. Without an error of the API, the gateway does not answer.
  markStale(error = {}) {
    if (!this.#isActive) return;
    const isOff = error.status === 409 && this.#settingHint !== null;
    const detail = isOff ? this.#settingHint() : error.status ? error.message : "";
    const stale = this.#since && !isRefusal(error) ? `Stale, as of ${formatTime(this.#since)}` : "";
    if (!stale && !detail) return;
    this.#setStale(true);
    setStatus(`${this.#name}-status`, [stale, detail].filter(Boolean).join(": "), detail && !isOff ? "bad" : "warn");
  }

  #setStale(isStale) {
    byId(`${this.#name}-region`).classList.toggle("stale", isStale);
  }
}

// marks.js

// Determines which items of a list have come and gone since the operator opened its page.


// How long a change stays marked.
const MARKED_MS = 10_000;

class Marks {
  // The items of the previous answer by key, or null before the first one, and the end of its page.
  #shown = null;
  #end = null;
  // The recent changes by key: their time, and the item if it has gone.
  #changes = new Map();

  // Drops all changes, because another page is opened.
  reset() {
    this.#shown = null;
    this.#changes.clear();
  }

  // Applies the items of a page by key, in the order of the keys. `end`: the key after which the next page begins, or
  // null. Returns the rows in the same order: the items, and for a short time those that have gone.
  update(items, end) {
    const keys = [...items.keys()];
    // An item beyond the end of a page has not come or gone, but moved between two pages.
    const isWithin = (key, bound) => bound === null || key <= bound;
    const at = Date.now();
    if (this.#shown !== null) {
      for (const key of keys) {
        if (!this.#shown.has(key) && isWithin(key, this.#end)) this.#changes.set(key, { at });
      }
      for (const [key, item] of this.#shown) {
        if (!items.has(key) && isWithin(key, end)) this.#changes.set(key, { at, gone: item });
      }
    }
    [this.#shown, this.#end] = [items, end];
    const entries = keys.map((key) => ({ key, item: items.get(key), mark: "" }));
    return this.#apply(entries, at);
  }

  #apply(entries, now) {
    const marked = new Map(entries.map((entry) => [entry.key, entry]));
    for (const [key, { at, gone }] of this.#changes) {
      const time = formatTime(new Date(at));
      if (now - at >= MARKED_MS) this.#changes.delete(key);
      else if (gone !== undefined) marked.set(key, { key, item: gone, isGone: true, mark: `gone at ${time}` });
      else if (marked.has(key)) marked.get(key).mark = `new at ${time}`;
    }
    return [...marked.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}

// pager.js

// The buttons to the next and the previous page of a list. The gateway returns the key at which the next page begins.


const PAGE_SIZE = 100;

class Pager {
  // The keys after which the pages up to the current one begin. The first page has none.
  #afters = [];
  #next = null;
  #buttons;
  #area;

  // `name`: the element `<name>-pages`. `what`: the items of the list. `changed` is called when another page is selected.
  // `texts`: those of the two buttons.
  constructor(name, what, changed, texts = ["Previous page", "Next page"]) {
    this.#area = byId(`${name}-pages`);
    this.#buttons = [
      this.#button(texts[0], what, () => this.#afters.pop(), changed),
      this.#button(texts[1], what, () => this.#afters.push(this.#next), changed),
    ];
    this.#area.replaceChildren(...this.#buttons);
    this.reset();
  }

  #button(text, what, move, changed) {
    const button = element("button", { type: "button", class: "quiet small", "aria-label": `${text} of ${what}` }, text);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      move();
      // Until the answer is there, no further page can be selected.
      this.#enable(false, false);
      changed();
    });
    return button;
  }

  // The parameters of a request for the current page.
  get query() {
    const after = this.#afters.at(-1);
    return after === undefined ? { limit: PAGE_SIZE } : { limit: PAGE_SIZE, after };
  }

  // The part of the status about the current page.
  get text() {
    return this.#area.hidden ? "" : `, page ${this.#afters.length + 1}`;
  }

  reset() {
    this.#afters = [];
    this.update(null);
  }

  // Sets the key after which the next page begins, or null on the last page.
  update(next = null) {
    this.#next = next;
    const hasPrevious = this.#afters.length > 0;
    this.#area.hidden = !hasPrevious && next === null;
    this.#enable(hasPrevious, next !== null);
  }

  // A disabled button keeps the focus.
  #enable(...isEnabled) {
    this.#buttons.forEach((button, index) => button.setAttribute("aria-disabled", String(!isEnabled[index])));
  }
}

// table.js

// The rows of a table. A row is reused while its item is listed, so that a click or the focus is not lost.


class Table {
  #body;
  #region;
  #columns;
  #action;
  #rows = new Map();

  // `name`: the table's body `<name>` and its region `<name>-region`. A column is a function that returns the text for
  // an item, the class of its cells, and optionally a function for their title. `action`: the text of a button in each
  // row, its label, and what it does.
  constructor(name, columns, action = null) {
    [this.#body, this.#region] = [byId(name), byId(`${name}-region`)];
    [this.#columns, this.#action] = [columns, action];
  }

  // Shows entries: a key, an item, and for a list with marks the text of the mark and whether the item has gone.
  show(entries) {
    // The keyboard focus stays on the same item.
    const focused = document.activeElement?.closest("tr")?.dataset.key;
    const hadFocus = focused !== undefined && this.#body.contains(document.activeElement);
    this.#rows = new Map(entries.map((entry) => [entry.key, this.#row(entry)]));
    const rows = [...this.#rows.values()];
    const { children } = this.#body;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#body.replaceChildren(...rows);
    if (hadFocus) this.focus(focused);
  }

  clear() {
    this.show([]);
  }

  // Focuses the button of an item, or the table if it is no longer listed.
  focus(key) {
    (this.#rows.get(key)?.querySelector("button") ?? this.#region).focus();
  }

  #row({ key, item, mark, isGone = false }) {
    const row = this.#rows.get(key) ?? this.#newRow(key, item, mark !== undefined);
    const texts = this.#columns.map(([text]) => String(text(item)));
    if (mark !== undefined) texts.push(mark);
    texts.forEach((text, index) => {
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
    row.className = isGone ? "gone" : mark ? "new" : "";
    if (this.#action) {
      const button = row.querySelector("button");
      button.setAttribute("aria-label", this.#action.label(item));
      button.onclick = () => this.#action.run(item);
    }
    return row;
  }

  #newRow(key, item, hasMark) {
    const cells = this.#columns.map(([, kind = "", title]) => {
      return element("td", title ? { class: kind, title: title(item) } : { class: kind });
    });
    if (hasMark) cells.push(element("td", { class: "mark" }));
    if (this.#action) {
      const { text, kind = "" } = this.#action;
      cells.push(element("td", {}, element("button", { type: "button", class: `small ${kind}` }, text)));
    }
    return element("tr", { "data-key": key }, ...cells);
  }
}

// messages.js

// Lists of stored messages by page, which the operator opens and closes: the history of a channel, and the inbox.


const MESSAGES_INTERVAL_MS = 5_000;
// A page may have several megabytes, which a browser lays out slowly.
const MAX_SHOWN = 4_096;

function formatMessage({ message }) {
  const text = JSON.stringify(message);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}… (${plural(text.length, "character")})` : text;
}

class MessageList {
  #name;
  #key;
  #pager;
  #table;
  #feed;

  // `name`: the elements `<name>-toggle` and `<name>-list`, and those of the table, the pager and the feed. `key`: the
  // field that identifies a message. `load` gets the parameters of a page, and returns the promise of an answer.
  constructor(name, key, columns, load, pages) {
    [this.#name, this.#key] = [name, key];
    this.#pager = new Pager(name, name, () => this.#feed.refresh(), pages);
    this.#table = new Table(name, columns);
    this.#feed = new Feed(name, MESSAGES_INTERVAL_MS, () => load(this.#pager.query), (answer) => this.#show(answer));
    byId(`${name}-toggle`).addEventListener("click", () => (byId(`${name}-list`).hidden ? this.#open() : this.close()));
  }

  #open() {
    this.#setOpen(true);
    this.#feed.start();
  }

  close() {
    this.#feed.stop();
    this.#table.clear();
    this.#pager.reset();
    this.#setOpen(false);
  }

  #setOpen(isOpen) {
    byId(`${this.#name}-list`).hidden = !isOpen;
    byId(`${this.#name}-toggle`).setAttribute("aria-expanded", String(isOpen));
  }

  #show({ messages, next }) {
    this.#table.show(messages.map((item) => ({ key: item[this.#key], item })));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(messages.length, "message")}${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}

// The durable messages of a channel, the newest first. `path` returns the path of the channel.
class History extends MessageList {
  constructor(path) {
    const columns = [[({ position }) => position, "code"], [formatMessage, "code name"]];
    const load = ({ limit, after }) => {
      const query = new URLSearchParams({ limit, reverse: true, ...(after && { since: after }) });
      return request("GET", `${path()}/history?${query}`);
    };
    super("history", "position", columns, load, ["Newer page", "Older page"]);
  }
}

// The messages of clients that wait for the backend, the oldest first. The console deletes none: that is the backend's
// decision.
class Inbox extends MessageList {
  constructor() {
    const columns = [
      // The clocks of this machine and of Redis may differ.
      [({ at }) => formatDuration(Math.max(0, Date.now() - at)), "number"], [({ user }) => user, "name"],
      [({ channel }) => channel, "code name"], [formatMessage, "code name"], [({ id }) => id, "code name"],
      [({ session }) => session.slice(0, 8), "code", ({ session }) => session],
    ];
    super("inbox", "entry", columns, (query) => request("GET", `v1/inbox?${new URLSearchParams(query)}`));
  }
}

// channel.js

// One channel: its subscribers on all replicas, and its members and its history by page.


const CHANNEL_INTERVAL_MS = 2_000;

function settingHint(what, setting, channel) {
  const [namespace] = channel.split(":");
  return `The ${what} of this channel is not recorded. `
    + `Set presence.enabled = true, and ${setting} in [namespaces.${namespace}].`;
}

function describeChannel({ occupied, replicas, count }) {
  if (!occupied) return ["no subscribers"];
  return [`${count === null ? "in use" : `${count} subscribed`}, on ${plural(replicas, "replica")}`];
}

class Channel {
  #name = "";
  #marks = new Marks();
  #pager = new Pager("members", "members", () => this.#openMembers());
  #table = new Table("members", [[(user) => user, "name"]]);
  #feed = new Feed(
    "channel", CHANNEL_INTERVAL_MS, () => request("GET", this.#path()), describeChannel,
    () => settingHint("use", "occupancy = true", this.#name),
  );
  #members = new Feed(
    "members", CHANNEL_INTERVAL_MS, () => this.#loadMembers(), (answer) => this.#showMembers(answer),
    () => settingHint("membership", 'presence = "members"', this.#name),
  );
  #history = new History(() => this.#path());
  #closed;

  // `closed` is called with the name when the operator closes the channel.
  constructor(control, closed) {
    this.#closed = closed;
    byId("channel-close").addEventListener("click", () => this.#close());
    byId("channel-disconnect").addEventListener("click", () => control.run("disconnect channel", this.#name, "channel"));
  }

  open(name) {
    this.#stop();
    byId("members-list").hidden = true;
    this.#name = name;
    byId("channel-title").textContent = name;
    byId("channel-region").hidden = false;
    byId("channel-title").focus();
    this.#feed.start();
    this.#openMembers();
  }

  #openMembers() {
    this.#marks.reset();
    this.#members.start();
  }

  #stop() {
    this.#feed.stop();
    this.#members.stop();
    this.#history.close();
    this.#table.clear();
    this.#pager.reset();
    byId("channel-outcome").replaceChildren();
  }

  #close() {
    this.#stop();
    byId("channel-region").hidden = true;
    this.#closed(this.#name);
  }

  #path() {
    return `v1/channels/${encodeURIComponent(this.#name)}`;
  }

  #loadMembers() {
    return request("GET", `${this.#path()}/members?${new URLSearchParams(this.#pager.query)}`);
  }

  #showMembers({ count, members, next }) {
    byId("members-list").hidden = false;
    this.#table.show(this.#marks.update(new Map(members.map((user) => [user, user])), next));
    this.#pager.update(next);
    return [plural(count, "member") + this.#pager.text];
  }
}

// channels.js

// Lists the channels that have subscribers on any replica.


const CHANNELS_INTERVAL_MS = 2_000;
const OCCUPANCY_OFF = "Channels in use are not recorded. Set presence.enabled = true, and occupancy = true in "
  + "[namespaces.<name>].";

class Channels {
  #namespace = "";
  #marks = new Marks();
  #pager = new Pager("in-use", "channels", () => this.#open());
  #table = new Table(
    "in-use",
    [
      [({ channel }) => channel, "code name"], [({ count }) => count ?? "not counted", "number"],
      [({ replicas }) => replicas, "number"],
    ],
    {
      text: "Open", kind: "quiet", label: ({ channel }) => `Open ${channel}`,
      run: ({ channel }) => this.#channel.open(channel),
    },
  );
  #feed = new Feed(
    "in-use", CHANNELS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer), () => OCCUPANCY_OFF,
  );
  #channel;

  constructor(control) {
    this.#channel = new Channel(control, (channel) => this.#table.focus(channel));
    onSubmit("in-use-form", () => {
      this.#namespace = byId("in-use-namespace").value.trim();
      this.#pager.reset();
      byId("in-use-list").hidden = false;
      byId("in-use-stop").disabled = false;
      this.#open();
    });
    onSubmit("channel-form", () => this.#channel.open(byId("channel-name").value.trim()));
    byId("in-use-stop").addEventListener("click", () => this.#stop());
  }

  // Opens a page of the list.
  #open() {
    this.#marks.reset();
    this.#feed.start();
  }

  #stop() {
    this.#feed.stop();
    this.#table.clear();
    this.#pager.reset();
    byId("in-use-list").hidden = true;
    byId("in-use-stop").disabled = true;
    byId("in-use-namespace").focus();
  }

  #load() {
    const filter = this.#namespace ? { namespace: this.#namespace } : {};
    return request("GET", `v1/channels?${new URLSearchParams({ ...filter, ...this.#pager.query })}`);
  }

  #show({ channels, next }) {
    this.#table.show(this.#marks.update(new Map(channels.map((one) => [one.channel, one])), next));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(channels.length, "channel")} in use${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}

// client.js

// One WebSocket to the gateway and the state of its channels. After a cut, the next connection resumes each channel.


const HEARTBEAT_INTERVAL_MS = 2_000;

// The close codes after which a client must not reconnect (docs/protocol.md).
const FINAL_CODES = new Set([4003, 4010]);

// Browsers report an unreachable gateway and a refused handshake with the same code, 1006.
const REFUSED = "Not connected: the gateway is unreachable or refused the connection. "
  + "server.allowed_origins must contain this page's origin.";

const hasLost = ({ channels = [] }) => channels.some(({ recovered }) => recovered === false);

// The inbox takes each id of a user once, so the ids of two consoles must differ.
const randomId = () => crypto.getRandomValues(new BigUint64Array(1))[0].toString(16);

class Client {
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

  // `events` has the methods sent(text, op), received(text, op), note(text), changed(text, kind),
  // message(channel, text, message) and signal(frame).
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
      case 18:
        this.#events.signal(frame);
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

// connection.js

// Connects as a user, shows its channels, its last message and signal, and sends messages and signals.


const EMPTY = () => element("li", { class: "muted" }, "None yet.");

function showLast(what, source, text) {
  const time = element("span", { class: "muted" }, `${source}, ${formatTime(new Date(), true)} `);
  byId(`last-${what}`).replaceChildren(time, element("code", {}, text));
}

class Connection {
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
      signal: ({ channel, user, signal }) => showLast("signal", `${channel}, from ${user}`, JSON.stringify(signal)),
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
    const text = JSON.stringify(message);
    showLast("message", channel ?? "message", text);
    this.#renderChannels();
    this.#onMessage(channel, text);
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
      const row = element("li", {}, element("code", {}, channel));
      if (position) row.append(element("span", { class: "muted" }, position));
      if (isRecovering) row.append(element("span", { class: "warn" }, "recovering"));
      if (recovered !== undefined) {
        row.append(element("span", { class: recovered ? "good" : "bad" }, `recovered: ${recovered}`));
      }
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

// control.js

// Commands to all replicas: disconnects sessions and revokes tokens, after a confirmation, and shows the answers.


const CLOSES = "with code 4010, on every replica. The client does not reconnect by itself.";
const ENDS = "on every replica, and ends the sessions that use";

// The commands by the value of their option: the label of the target, and a text for the confirmation.
const COMMANDS = {
  "disconnect session": ["Session", (session) => `This closes session ${session} ${CLOSES}`],
  "disconnect user": ["User", (user) => `This closes all sessions of user ${user} ${CLOSES}`],
  "disconnect channel": ["Channel", (channel) => `This closes all sessions that are subscribed to ${channel} ${CLOSES}`],
  "revoke user": ["User", (user) => `This refuses all tokens of user ${user} that were issued until now, ${ENDS} them.`],
  "revoke jti": ["Token id (jti)", (jti) => `This refuses the token with the id ${jti}, ${ENDS} it.`],
};

class Control {
  #applied;

  // `applied` is called after each command.
  constructor(applied) {
    this.#applied = applied;
    const choice = byId("control-command");
    choice.addEventListener("change", () => (byId("control-label").textContent = COMMANDS[choice.value][0]));
    onSubmit("control-form", () => this.run(choice.value, byId("control-target").value.trim(), "control"));
  }

  // Asks for confirmation, sends a command, and shows its outcome in `<panel>-outcome`. `name` names the target in the
  // question, and `answered` is called when the operator has answered the question.
  async run(command, target, panel, { name = target, answered = () => {} } = {}) {
    const [action, kind] = command.split(" ");
    const isDisconnect = action === "disconnect";
    const [, describe] = COMMANDS[command];
    const reason = await confirmAction(isDisconnect ? "Disconnect" : "Revoke", describe(name), isDisconnect);
    answered();
    if (reason === null) return;
    const outcome = byId(`${panel}-outcome`);
    outcome.replaceChildren(element("p", {}, "Waiting for the replicas…"));
    try {
      const body = { [action]: { [kind]: target, ...(reason && { reason }) } };
      outcome.replaceChildren(...describeOutcome(await request("POST", "v1/control", JSON.stringify(body))));
    } catch (error) {
      const text = error.status ? error.message : "The admin port did not answer. The command may have been issued.";
      outcome.replaceChildren(element("p", { class: "bad" }, text));
      return;
    }
    this.#applied();
  }
}

// The text about replicas that did not answer, followed by the consequence for `one` or for `several`; empty if all
// answered. Without presence, the gateway knows only the number of missing replicas.
function describeMissing(missing = [], one, several) {
  if (missing.length === 0) return "";
  const names = missing.filter((name) => name !== "unnamed").join(", ");
  const which = plural(missing.length, "replica") + " did not answer" + (names && `: ${names}`);
  return `${which}. ${missing.length === 1 ? one : several}`;
}

function describeOutcome({ replicas, missing }) {
  const answers = Object.entries(replicas).sort();
  const total = answers.reduce((sum, [, affected]) => sum + affected, 0);
  const items = answers.map(([name, affected]) => element("li", {}, element("code", {}, name), `: ${affected}`));
  const [one, several] = ["It applies the command when it is back.", "They apply the command when they are back."];
  const missingText = describeMissing(missing, one, several);
  const warning = missingText ? [element("p", { class: "warn" }, missingText)] : [];
  return [element("p", {}, `${plural(total, "session")} affected, by replica:`), element("ul", {}, ...items), ...warning];
}

// frames.js

// The list of frames of the console's socket, in both directions, newest first.


const MAX_FRAMES = 500;
const OP_NAMES = {
  0: "Hello", 1: "Identify", 2: "Ready", 3: "Message", 4: "Subscribe", 5: "Unsubscribe", 6: "Subscription",
  7: "Reconnect", 8: "Gap", 9: "Error", 10: "Heartbeat", 11: "Heartbeat ACK", 12: "Refresh", 13: "Refreshed",
  14: "Room", 15: "Members", 16: "Send", 17: "Sent", 18: "Signal", 19: "History", 20: "Page",
};
const encoder = new TextEncoder();

// Hides the token on the screen, because the screen may be shared.
const maskToken = (text) => text.replace(/("token":)"(?:[^"\\]|\\.)*"/, '$1"…"');

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

// presence.js

// Shows whether users are online, on any replica, and each change. Needs only the admin key.


const PRESENCE_INTERVAL_MS = 2_000;
const MAX_WATCHED = 100;
const MAX_CHANGES = 50;

const PRESENCE_OFF = "Presence is off. Set presence.enabled = true on every replica.";

const queryUsers = async (users) => (await request("POST", "v1/presence", JSON.stringify({ users }))).users;

function describeState({ online, replicas }) {
  if (!online) return "away";
  return replicas > 0 ? "online" : "online, within the grace";
}

class Presence {
  // The watched users, each with its state and the text of its last change.
  #users = new Map();
  #table = new Table(
    "presence",
    [[({ user }) => user, "name"], [describeState], [({ replicas }) => replicas, "number"], [({ change }) => change]],
    { text: "Remove", kind: "quiet", label: ({ user }) => `Remove ${user}`, run: ({ user }) => this.#remove(user) },
  );
  #feed = new Feed(
    "presence", PRESENCE_INTERVAL_MS, () => queryUsers([...this.#users.keys()]), (users) => this.#show(users),
    () => PRESENCE_OFF,
  );

  constructor() {
    onSubmit("presence-form", () => this.#watch());
    byId("presence-clear").addEventListener("click", () => this.#clear());
  }

  // Asks for the entered users, and watches them if the gateway accepts their names.
  async #watch() {
    const field = byId("presence-users");
    const entered = field.value.split(/[\s,]+/).filter((user) => user && !this.#users.has(user));
    if (entered.length === 0) return;
    if (this.#users.size + entered.length > MAX_WATCHED) {
      return setStatus("presence-status", `At most ${MAX_WATCHED} users can be watched.`, "bad");
    }
    try {
      const users = await queryUsers(entered);
      for (const user of entered) this.#users.set(user, { user, change: "", ...users[user] });
    } catch (error) {
      const isOff = error.status === 409;
      const text = error.status ? error.message : "The admin port does not answer.";
      return setStatus("presence-status", isOff ? PRESENCE_OFF : text, isOff ? "warn" : "bad");
    }
    field.value = "";
    byId("presence-watched").hidden = false;
    byId("presence-clear").disabled = false;
    this.#feed.start();
  }

  #show(users) {
    for (const [user, before] of this.#users) {
      // A user that was added after the request has no answer yet.
      const now = Object.hasOwn(users, user) ? users[user] : before;
      if (now.online !== before.online) before.change = this.#addChange(user, now.online);
      Object.assign(before, { online: now.online, replicas: now.replicas });
    }
    this.#table.show([...this.#users].map(([key, item]) => ({ key, item })));
    const online = [...this.#users.values()].filter((user) => user.online).length;
    return [`${online} of ${plural(this.#users.size, "user")} online`];
  }

  #addChange(user, isOnline) {
    const text = `${isOnline ? "came online" : "went away"} at ${formatTime(new Date())}`;
    const list = byId("presence-changes");
    list.prepend(element("li", {}, element("code", {}, user), ` ${text}`));
    if (list.children.length > MAX_CHANGES) list.lastElementChild.remove();
    return text;
  }

  #remove(user) {
    this.#users.delete(user);
    if (this.#users.size === 0) return this.#clear();
    this.#feed.refresh();
  }

  #clear() {
    this.#users.clear();
    this.#table.clear();
    this.#feed.stop();
    byId("presence-changes").replaceChildren();
    byId("presence-watched").hidden = true;
    byId("presence-clear").disabled = true;
    byId("presence-users").focus();
  }
}

// publish.js

// Publishes messages, and shows the time until the console received them.


class Publish {
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

// sessions.js

// Lists the sessions of all replicas and disconnects them.


const SESSIONS_INTERVAL_MS = 5_000;
const nameOf = ({ id, user }) => `${id.slice(0, 8)} of ${user ?? "an unidentified user"}`;

function formatChannels({ channels, subscriptions }) {
  const hidden = subscriptions - channels.length;
  return (channels.join(", ") || "none") + (hidden > 0 ? ` and ${hidden} more` : "");
}

class Sessions {
  #control;
  #filter = {};
  #pager = new Pager("sessions", "sessions", () => this.#feed.refresh());
  #table;
  #feed = new Feed("sessions", SESSIONS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer));

  constructor(control) {
    this.#control = control;
    this.#table = new Table(
      "sessions",
      [
        [({ user }) => user ?? "not identified"], [formatChannels, "wrap"],
        [({ age_ms }) => formatDuration(age_ms), "number"], [({ queued_bytes }) => formatBytes(queued_bytes), "number"],
        [({ address }) => address ?? "unknown"], [({ version }) => version],
        [({ replica }) => replica, "code"], [({ id }) => id.slice(0, 8), "code", ({ id }) => id],
      ],
      {
        text: "Disconnect", kind: "danger", label: (session) => `Disconnect session ${nameOf(session)}`,
        run: (session) => this.#disconnect(session),
      },
    );
    onSubmit("sessions-form", () => this.#applyFilter());
    byId("disconnect-user").addEventListener("click", () => this.#disconnectUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
    this.#feed.start();
  }

  refreshSoon() {
    this.#feed.refreshSoon();
  }

  #applyFilter() {
    const entered = ["user", "channel"].map((name) => [name, byId(`sessions-${name}`).value.trim()]);
    this.#filter = Object.fromEntries(entered.filter(([, value]) => value));
    this.#pager.reset();
    this.#feed.refresh();
  }

  #load() {
    return request("GET", `v1/sessions?${new URLSearchParams({ ...this.#filter, ...this.#pager.query })}`);
  }

  #show({ sessions, total, next, missing }) {
    this.#table.show(sessions.map((session) => ({ key: session.id, item: session })));
    this.#pager.update(next);
    const count = plural(total, "session") + this.#pager.text;
    const missingText = describeMissing(missing, "Its sessions are not listed.", "Their sessions are not listed.");
    return missingText ? [`${count}. ${missingText}`, "warn"] : [count];
  }

  #disconnect(session) {
    // The list may have been refreshed while the dialog was open.
    const answered = () => this.#table.focus(session.id);
    this.#control.run("disconnect session", session.id, "sessions", { name: nameOf(session), answered });
  }

  #disconnectUser() {
    this.#applyFilter();
    this.#control.run("disconnect user", this.#filter.user, "sessions");
  }
}

// chart.js

// A chart of the last two minutes with a scale, times, the value at the pointer, and a text for screen readers.


const SPAN_MS = 120_000;
// Values further apart than this are not connected.
const GAP_MS = 7_000;
const WIDTH = 120;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const created = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  return created;
}

class Chart {
  // Values with their times; a value is null when the gateway did not answer.
  #points = [];
  #format;
  #name;
  #figure;
  #number = element("div", { class: "value" }, "–");
  #svg = svgElement("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = svgElement("path", { class: "area" });
  #curve = svgElement("path", { class: "curve" });
  #cursor = svgElement("line", { class: "cursor", y1: 0, y2: HEIGHT });
  #top = element("span", { class: "top" });
  #bottom = element("span", { class: "bottom" });
  #from = element("span");
  #to = element("span");
  #hovered = element("div", { class: "hovered" });

  constructor(figure, format) {
    this.#format = format;
    this.#figure = figure;
    this.#name = figure.querySelector("figcaption").textContent;
    const ground = svgElement("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.#svg.append(ground, this.#area, this.#curve);
    this.#svg.setAttribute("aria-label", `${this.#name}: no values yet`);
    const plot = element("div", { class: "plot" }, this.#svg, this.#top, this.#bottom, this.#hovered);
    // Screen readers get the same values from the label of the curve.
    const times = element("div", { class: "times", "aria-hidden": "true" }, this.#from, this.#to);
    for (const part of [this.#top, this.#bottom, this.#hovered]) part.setAttribute("aria-hidden", "true");
    plot.addEventListener("pointermove", (event) => this.#hover(event));
    plot.addEventListener("pointerleave", () => this.#clearHover());
    figure.append(this.#number, plot, times);
  }

  // Adds a value, or null if it is unknown. `remark` is shown next to the number.
  add(value, remark = "") {
    const text = value === null ? "–" : this.#format(value);
    this.#figure.classList.remove("stale");
    this.#append(value);
    this.#number.replaceChildren(text);
    if (remark) this.#number.append(" ", element("small", {}, remark));
    this.#svg.setAttribute("aria-label", `${this.#name}: ${text} ${remark}${this.#range()}`);
  }

  // Marks the number as stale, as of `since`, because the gateway does not answer.
  markStale(since) {
    this.#append(null);
    if (this.#figure.classList.contains("stale") || since === null) return;
    this.#figure.classList.add("stale");
    const text = this.#number.firstChild?.textContent ?? "–";
    this.#number.replaceChildren(text, " ", element("small", {}, `stale, as of ${formatTime(since)}`));
    this.#svg.setAttribute("aria-label", `${this.#name}: stale, ${text} at ${formatTime(since)}${this.#range()}`);
  }

  #append(value) {
    const now = Date.now();
    this.#points.push({ at: now, value });
    this.#points = this.#points.filter(({ at }) => at > now - SPAN_MS);
    this.#draw(now);
  }

  #values() {
    return this.#points.filter(({ value }) => value !== null).map(({ value }) => value);
  }

  #range() {
    const values = this.#values();
    const [min, max] = [Math.min(...values), Math.max(...values)].map(this.#format);
    return values.length ? `, between ${min} and ${max} in the last two minutes` : "";
  }

  #draw(now) {
    const values = this.#values();
    const max = Math.max(1e-9, ...values);
    const start = now - SPAN_MS;
    let [curve, area, startX, last, before] = ["", "", null, 0, 0];
    const finish = () => {
      if (startX !== null) area += `L${last} ${HEIGHT}L${startX} ${HEIGHT}Z`;
      startX = null;
    };
    for (const point of this.#points) {
      if (point.value === null || point.at - before > GAP_MS) finish();
      before = point.at;
      if (point.value === null) continue;
      last = (((point.at - start) / SPAN_MS) * WIDTH).toFixed(1);
      const y = (HEIGHT - 1 - (point.value / max) * (HEIGHT - 3)).toFixed(1);
      Object.assign(point, { x: Number(last), y });
      // A single value is drawn as a dot.
      const piece = startX === null ? `M${last} ${y}h.01` : `L${last} ${y}`;
      if (startX === null) startX = last;
      curve += piece;
      area += piece;
    }
    finish();
    this.#curve.setAttribute("d", curve);
    this.#area.setAttribute("d", area);
    this.#top.textContent = values.length ? this.#format(max < 1e-6 ? 0 : max) : "";
    this.#bottom.textContent = values.length && max >= 1e-6 ? this.#format(0) : "";
    [this.#from.textContent, this.#to.textContent] = [formatTime(new Date(start)), formatTime(new Date(now))];
  }

  // Shows the value nearest to the pointer, with its time.
  #hover(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDTH;
    const drawn = this.#points.filter(({ value }) => value !== null);
    if (drawn.length === 0) return this.#clearHover();
    const near = drawn.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best));
    this.#cursor.setAttribute("x1", near.x);
    this.#cursor.setAttribute("x2", near.x);
    this.#svg.append(this.#cursor);
    this.#hovered.textContent = `${this.#format(near.value)} at ${formatTime(new Date(near.at))}`;
  }

  #clearHover() {
    this.#cursor.remove();
    this.#hovered.textContent = "";
  }
}

// status.js

// The header of the page and the charts, refreshed every two seconds while the page is visible.


const STATUS_INTERVAL_MS = 2_000;
const formatWhole = (value) => String(Math.round(value));
const formatShort = (value) => (value >= 100 ? formatWhole(value) : value.toFixed(1));

class Status {
  // The latest status, or null before the first answer.
  latest = null;
  #before = null;
  // The time of the latest status.
  #since = null;
  #timer = 0;
  #changed;
  #failed;
  #roundTrip;
  #charts = {
    connections: new Chart(byId("chart-connections"), formatWhole),
    deliveries: new Chart(byId("chart-deliveries"), formatShort),
    latency: new Chart(byId("chart-latency"), (ms) => `${formatShort(ms)} ms`),
    link: new Chart(byId("chart-link"), (up) => (up ? "up" : "down")),
  };

  // `changed` is called with each status, and `failed` when the gateway does not answer. `roundTrip` returns the latency
  // of the console's own socket.
  constructor(changed, failed, roundTrip) {
    this.#changed = changed;
    this.#failed = failed;
    this.#roundTrip = roundTrip;
    document.addEventListener("visibilitychange", () => this.refresh());
  }

  // Refreshes now, and regularly while the page is visible.
  async refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      this.#apply(await request("GET", "v1/status"));
    } catch (error) {
      this.#showError(error);
      // After a missing or wrong key, no request is sent until another key is entered.
      if (error.status === 401) return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), STATUS_INTERVAL_MS);
  }

  #apply(status) {
    const at = performance.now();
    this.latest = status;
    this.#since = new Date();
    const { connections, deliveries, latency, link } = this.#charts;
    connections.add(status.connections, status.users === 1 ? "1 user" : `${status.users} users`);
    deliveries.add(this.#rate(status, at));
    const probe = status.link.probe_ms === null ? "" : `link ${formatShort(status.link.probe_ms)} ms`;
    latency.add(this.#roundTrip(), probe);
    link.add(status.link.up ? 1 : 0, status.broker);
    this.#before = { at, delivered: status.publications_delivered };
    byId("deployment").textContent =
      `Version ${status.version}, ${status.profile}, sockets on ${status.public_addr}, up ${formatDuration(status.uptime_ms)}`;
    const [text, kind] = status.draining ? ["Draining", "warn"] : status.ready ? ["Ready", "good"] : ["Not ready", "bad"];
    showHealth(text, kind, [...status.reasons, ...status.notes].join("; "));
    this.#changed(status);
  }

  // Null for the first status, after a restart of the gateway, and after time in the background.
  #rate(status, at) {
    const before = this.#before;
    const isOld = before === null || at - before.at > 3 * STATUS_INTERVAL_MS;
    const more = isOld ? -1 : status.publications_delivered - before.delivered;
    return more < 0 ? null : (more * 1000) / (at - before.at);
  }

  #showError(error) {
    this.#before = null;
    for (const chart of Object.values(this.#charts)) chart.markStale(this.#since);
    this.#failed();
    const seen = this.#since ? ` The figures are as of ${formatTime(this.#since)}.` : "";
    if (error.status === 401 && isKeyWrong()) {
      showHealth("Wrong key", "bad", `The gateway rejected this key. Enter the value of admin.api_key.${seen}`);
    } else if (error.status === 401) {
      showHealth("Key required", "warn", `This gateway requires its admin key.${seen}`);
    } else if (error.status) {
      showHealth("Error", "bad", `${error.message}.${seen}`);
    } else {
      showHealth("No answer", "bad", `The admin port does not answer. Retrying.${seen}`);
    }
  }
}

// Shows the state in one or two words, and its reasons as a notice.
function showHealth(text, kind, reasons) {
  const health = byId("health");
  if (health.textContent !== text) health.textContent = text;
  health.className = `pill ${kind}`;
  showNotice(reasons, kind);
}

// main.js

// Creates the parts of the page and connects them.


initDialogs();
const frames = new Frames();
const publish = new Publish();
const control = new Control(() => sessions.refreshSoon());
const sessions = new Sessions(control);
new Channels(control);
new Presence();
new Inbox();
const status = new Status((now) => connection.updateStatus(now), markFeedsStale, () => connection.roundTrip);
const connection = new Connection(frames, () => status.latest, (channel, text) => publish.handleMessage(channel, text), () => sessions.refreshSoon());
initKeyDialog(() => {
  status.refresh();
  refreshFeeds();
});
status.refresh();
