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

// Sets a text if it has changed: screen readers would repeat an unchanged one.
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// Shows the reasons for the state of the gateway; an empty text hides them.
function showNotice(text, kind = "") {
  const notice = byId("notice");
  setText(notice, text);
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
}

// Shows a text in one element of the page; `kind` is "bad" for an error, "warn", or nothing.
function setStatus(id, text, kind = "") {
  const target = byId(id);
  setText(target, text);
  target.classList.remove("bad", "warn");
  if (kind) target.classList.add(kind);
}

// Handles a form without submitting it, which the content security policy forbids. `handle` gets the event.
function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle(event);
  });
}

// Shows terms and their values as a list of definitions.
function showFacts(id, facts) {
  const list = byId(id);
  const texts = Object.entries(facts);
  if (list.children.length !== texts.length) {
    list.replaceChildren(...texts.map(([term]) => element("div", {}, element("dt", {}, term), element("dd"))));
  }
  texts.forEach(([, text], index) => setText(list.children[index].lastElementChild, text));
}

// json.js

// JSON whose large integers keep their digits. JSON.parse alone would round them.


// A browser lays out long texts slowly.
const MAX_SHOWN = 16_384;
const PREVIEW = 240;
// A string, with a colon if it is a name; a literal; a number.
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;

// Browsers without JSON.rawJSON show rounded numbers.
function keepDigits(key, value, context) {
  const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && JSON.rawJSON && context?.source ? JSON.rawJSON(context.source) : value;
}

const parseJson = (text) => JSON.parse(text, keepDigits);

const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}… (${text.length} characters)` : text);

// The beginning of a text, for one line of a list.
const preview = (text) => cut(text, PREVIEW);

// The text with line breaks and indents, or the same text if it is not JSON.
function prettyJson(text) {
  try {
    return JSON.stringify(parseJson(text), null, 2);
  } catch {
    return text;
  }
}

function tokenKind([text, string, colon]) {
  if (string) return colon ? "name" : "string";
  return /^[tfn]/.test(text) ? "literal" : "digits";
}

// Shows JSON over several lines, in colours.
function jsonView(text) {
  const pretty = cut(prettyJson(text), MAX_SHOWN);
  const code = element("code");
  let end = 0;
  for (const match of pretty.matchAll(TOKEN)) {
    const token = match[1] ?? match[0];
    code.append(pretty.slice(end, match.index), element("span", { class: tokenKind(match) }, token));
    end = match.index + token.length;
  }
  code.append(pretty.slice(end));
  return element("pre", { class: "json" }, code);
}

// Why a text is not JSON, or "".
function jsonProblem(text) {
  try {
    parseJson(text);
    return "";
  } catch (error) {
    return `The message is not valid JSON: ${error.message}`;
  }
}

// Returns the JSON in a field, or null if it is invalid: then the field is marked, and the status shows why.
function readJson(id, statusId) {
  const field = byId(id);
  const problem = jsonProblem(field.value);
  if (problem) {
    field.setAttribute("aria-invalid", "true");
    setStatus(statusId, problem, "bad");
    return null;
  }
  field.removeAttribute("aria-invalid");
  return field.value;
}

// api.js

// The admin API. The key stays in this module's memory and is sent only in the Authorization header.


let key = "";
let wasDismissed = false;
// The answer to a missing or wrong key. No request is sent until another key is entered.
let refusal = null;

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
  if (refusal) throw refusal;
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const answer = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  const json = await answer.text().then(parseJson).catch(() => ({}));
  if (answer.ok) return json;
  const { code = "unknown", detail = `HTTP ${answer.status}` } = json.error ?? {};
  const error = new ApiError(answer.status, code, detail);
  if (answer.status === 401) {
    refusal = error;
    byId("key-wrong").hidden = key === "";
    document.body.dataset.access = "locked";
    if (!wasDismissed) showKeyDialog();
  }
  throw error;
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
    refusal = null;
    delete document.body.dataset.access;
    byId("key").value = "";
    byId("key-wrong").hidden = true;
    byId("key-dialog").close("entered");
    changed();
  });
  // After "Cancel" the dialog does not reopen with the next request.
  byId("key-dialog").addEventListener("close", ({ target }) => (wasDismissed = target.returnValue !== "entered"));
  byId("key-button").addEventListener("click", showKeyDialog);
}

// format.js

// Texts for times, durations, sizes and counts.

// Formats a time of day.
const formatTime = (date, hasMilliseconds = false) =>
  date.toTimeString().slice(0, 8) + (hasMilliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

const formatDuration = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

const formatBytes = (count) => (count < 10240 ? `${count} B` : `${(count / 1024).toFixed(1)} KiB`);

const formatShort = (value) => (value >= 100 ? String(Math.round(value)) : value.toFixed(1));

// Groups the digits of a count, independent of the language of the browser.
const formatCount = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

const encoder = new TextEncoder();

const byteLength = (text) => encoder.encode(text).length;

// views.js

// The views of the page. The address has the current one and what is open in it: `#channels/room:7`.


const NAMES = ["overview", "channels", "users", "live", "publish", "inbox"];
// Views whose link leads back to what was open in them.
const KEPT = ["channels", "users"];
const listeners = [];
let current = "";
// The address that is shown.
let applied = null;

// Calls `listener` with the name of the view and what is open in it, or "", after each change.
const onView = (listener) => listeners.push(listener);

const currentView = () => current;

const addressOf = (view, argument = "") => `#${view}${argument && `/${encodeURIComponent(argument)}`}`;

function goTo(view, argument = "") {
  location.hash = addressOf(view, argument);
  applyAddress();
}

const linkOf = (view) => document.querySelector(`[data-link="${view}"]`);

// Goes to a view as its link does.
function followLink(view) {
  location.hash = linkOf(view).hash;
  applyAddress();
}

// Whether an element belongs to the current view, or to none.
const isInView = (part) => !part.closest("[data-view]")?.hidden;

function readAddress() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  try {
    return [name, decodeURIComponent(rest.join("/"))];
  } catch {
    return [name, ""];
  }
}

function applyAddress() {
  applied = location.hash;
  let [name, argument] = readAddress();
  if (!NAMES.includes(name)) {
    if (current) return;
    [name, argument] = [NAMES[0], ""];
  }
  const isFirst = current === "";
  const isOther = current !== name;
  current = name;
  if (isOther) show(name);
  if (KEPT.includes(name)) linkOf(name).href = addressOf(name, argument);
  // The keyboard continues in the view, not in the navigation.
  if (isOther && !isFirst) focusView();
  for (const listener of listeners) listener(name, argument);
}

function show(name) {
  for (const section of document.querySelectorAll("[data-view]")) section.hidden = section.dataset.view !== name;
  for (const link of document.querySelectorAll("[data-link]")) {
    if (link.dataset.link === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${name}-title`).textContent} · Gateway console`;
  scrollTo(0, 0);
}

const focusView = () => byId(`${current}-title`).focus({ preventScroll: true });

function initViews() {
  addEventListener("hashchange", () => location.hash !== applied && applyAddress());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    focusView();
  });
  applyAddress();
}

// feed.js

// Data that the page requests regularly while the page and the view with the data are visible.


const feeds = [];

const refreshFeeds = () => feeds.forEach((feed) => feed.refresh());
const markFeedsStale = () => feeds.forEach((feed) => feed.markStale());

document.addEventListener("visibilitychange", refreshFeeds);
onView(refreshFeeds);

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
  #region;

  // `name`: the elements `<name>-status` and `<name>-region` show the state of the data. `load` returns the promise of
  // an answer. `show` shows an answer, and returns the text of the status and its kind. `settingHint` returns the text
  // for data that the settings turn off.
  constructor(name, interval, load, show, settingHint = null) {
    [this.#name, this.#interval, this.#load, this.#show, this.#settingHint] = [name, interval, load, show, settingHint];
    this.#region = byId(`${name}-region`);
    feeds.push(this);
  }

  start() {
    this.#isActive = true;
    // Until the first answer, the region shows that it is loading.
    if (this.#since === null) this.#region.classList.add("loading");
    this.refresh();
  }

  // Stops, and forgets the state of the data.
  stop() {
    this.#isActive = false;
    this.#latestRequest += 1;
    this.#since = null;
    clearTimeout(this.#timer);
    this.#setStale(false);
    this.#region.classList.remove("loading", "failed");
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
    if (document.hidden || !this.#isActive || !isInView(this.#region)) return;
    const number = ++this.#latestRequest;
    const [answer, error] = await this.#load().then((answer) => [answer], (error) => [null, error]);
    if (number !== this.#latestRequest) return;
    if (error) {
      this.markStale(error);
      if (isRefusal(error)) return;
    } else {
      this.#since = new Date();
      this.#setStale(false);
      this.#region.classList.remove("loading", "failed");
      setStatus(`${this.#name}-status`, ...this.#show(answer));
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), this.#interval);
  }

  // Marks the data as stale, as of the latest answer. Without an error of the API, the gateway does not answer.
  markStale(error = {}) {
    if (!this.#isActive) return;
    // After a missing key, the region goes on waiting: the key dialog asks for it.
    if (error.status && error.status !== 401) this.#region.classList.replace("loading", "failed");
    const isOff = error.status === 409 && this.#settingHint !== null;
    const isLocked = error.status === 401;
    const detail = isOff ? this.#settingHint() : isLocked ? "The admin key is required." : error.status ? error.message : "";
    const stale = this.#since && !isRefusal(error) ? `Stale, as of ${formatTime(this.#since)}` : "";
    if (!stale && !detail) return;
    this.#setStale(true);
    setStatus(`${this.#name}-status`, [stale, detail].filter(Boolean).join(": "), detail && !isOff && !isLocked ? "bad" : "warn");
  }

  #setStale(isStale) {
    this.#region.classList.toggle("stale", isStale);
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

// rows.js

// Lists whose entries open to show JSON. An entry is reused while its item is listed, so that it stays open.


// An entry with cells in one line; when it opens, it shows `json()` and the facts below.
function expandable(cells, json, facts = {}) {
  const summary = element("summary", {}, ...cells);
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const terms = Object.entries(facts).map(([term, text]) => {
      return element("div", {}, element("dt", {}, term), element("dd", { class: "code" }, text));
    });
    details.append(jsonView(json()), ...(terms.length ? [element("dl", { class: "row-facts" }, ...terms)] : []));
  });
  return details;
}

class Rows {
  #list;
  #region;
  #describe;
  #rows = new Map();

  // `name`: the list `<name>` and its region `<name>-region`. `describe` returns for an item the texts of its cells,
  // each with its class, its JSON, and facts.
  constructor(name, describe) {
    [this.#list, this.#region] = [byId(name), byId(`${name}-region`)];
    this.#describe = describe;
  }

  // Shows items by key, in this order.
  show(items) {
    this.#rows = new Map(items.map(([key, item]) => [key, this.#row(key, item)]));
    const rows = [...this.#rows.values()];
    this.#region.classList.toggle("is-empty", rows.length === 0);
    const { children } = this.#list;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#list.replaceChildren(...rows);
  }

  #row(key, item) {
    const { cells, json, facts } = this.#describe(item);
    const row = this.#rows.get(key);
    if (row) {
      const shown = row.querySelectorAll("summary > span");
      cells.forEach(([text], index) => setText(shown[index], text));
      return row;
    }
    const parts = cells.map(([text, kind]) => element("span", { class: kind }, text));
    return element("li", { "data-key": key }, expandable(parts, () => json, facts));
  }
}

// messages.js

// Lists of stored messages by page: the history of a channel, and the inbox.


const MESSAGES_INTERVAL_MS = 5_000;

class MessageList {
  #key;
  #pager;
  #rows;
  #feed;

  // `name`: the list, its pager and its feed. `key`: the field that identifies a message. `load` gets the parameters of
  // a page, and returns the promise of an answer.
  constructor(name, key, describe, load, pages) {
    this.#key = key;
    this.#pager = new Pager(name, name, () => this.#feed.refresh(), pages);
    this.#rows = new Rows(name, describe);
    this.#feed = new Feed(name, MESSAGES_INTERVAL_MS, () => load(this.#pager.query), (answer) => this.#show(answer));
  }

  open() {
    this.#feed.start();
  }

  close() {
    this.#feed.stop();
    this.#rows.show([]);
    this.#pager.reset();
  }

  #show({ messages, next }) {
    this.#rows.show(messages.map((item) => [item[this.#key], item]));
    this.#pager.update(next);
    const isWhole = !next && this.#pager.text === "";
    return [`${plural(messages.length, "message")}${isWhole ? "" : " on this page"}${this.#pager.text}`];
  }
}

// The day and the time of a position, which begins with Redis' clock in milliseconds.
function formatPosition(position) {
  const date = new Date(Number(position.split("-")[0]));
  return `${date.toISOString().slice(0, 10)} ${formatTime(date)}`;
}

// The durable messages of a channel, the newest first. `path` returns the path of the channel.
class History extends MessageList {
  constructor(path) {
    const describe = ({ position, message }) => {
      const json = JSON.stringify(message);
      const cells = [[formatPosition(position), "time"], [position, "code faint position"], [preview(json), "code preview"]];
      return { cells, json };
    };
    const load = ({ limit, after }) => {
      const query = new URLSearchParams({ limit, reverse: true, ...(after && { since: after }) });
      return request("GET", `${path()}/history?${query}`);
    };
    super("history", "position", describe, load, ["Newer page", "Older page"]);
  }
}

// The messages of clients that wait for the backend, the oldest first. The console deletes none: that is the backend's
// decision.
class Inbox extends MessageList {
  constructor() {
    const describe = ({ at, user, channel, message, id, session, entry }) => {
      const json = JSON.stringify(message);
      // The clocks of this machine and of Redis may differ.
      const age = formatDuration(Math.max(0, Date.now() - at));
      const cells = [[age, "number"], [user, "strong"], [channel, "code"], [preview(json), "code preview"]];
      return { cells, json, facts: { Id: id, Session: session, Entry: entry } };
    };
    super("inbox", "entry", describe, (query) => request("GET", `v1/inbox?${new URLSearchParams(query)}`));
    this.open();
  }
}

// table.js

// The rows of a table. A row is reused while its item is listed, so that a click or the focus is not lost.


class Table {
  #body;
  #region;
  #columns;
  #labels;
  #action;
  #rows = new Map();

  // `name`: the table's body `<name>` and its region `<name>-region`. A column has a function `text` of an item, and
  // optionally `kind`, the class of its cells or a function for it, and functions for their `title` and their `link`.
  // `action`: the text of a button in each row, its label, and what it does.
  constructor(name, columns, action = null) {
    [this.#body, this.#region] = [byId(name), byId(`${name}-region`)];
    [this.#columns, this.#action] = [columns, action];
    // A narrow screen shows each cell below its label.
    this.#labels = [...this.#body.closest("table").querySelectorAll("th")].map((head) => (head.firstElementChild ? "" : head.textContent));
  }

  // Shows entries: a key, an item, and for a list with marks the text of the mark and whether the item has gone.
  show(entries) {
    // The keyboard focus stays on the same item.
    const focused = document.activeElement?.closest("tr")?.dataset.key;
    const hadFocus = focused !== undefined && this.#body.contains(document.activeElement);
    this.#rows = new Map(entries.map((entry) => [entry.key, this.#row(entry)]));
    const rows = [...this.#rows.values()];
    this.#region.classList.toggle("is-empty", rows.length === 0);
    const { children } = this.#body;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#body.replaceChildren(...rows);
    if (hadFocus) this.focus(focused);
  }

  clear() {
    this.show([]);
  }

  // Marks the row of an item as the open one.
  setCurrent(current) {
    for (const [key, row] of this.#rows) row.classList.toggle("current", key === current);
  }

  // Focuses the button of an item, or the table if it is no longer listed.
  focus(key) {
    (this.#rows.get(key)?.querySelector("button") ?? this.#region).focus();
  }

  #row({ key, item, mark, isGone = false }) {
    const row = this.#rows.get(key) ?? this.#newRow(key, item, mark !== undefined);
    this.#columns.forEach(({ text, kind }, index) => {
      const cell = row.children[index];
      setText(cell.firstElementChild ?? cell, String(text(item)));
      if (typeof kind === "function") cell.className = kind(item);
    });
    if (mark !== undefined) setText(row.children[this.#columns.length], mark);
    row.classList.toggle("gone", isGone);
    row.classList.toggle("new", Boolean(mark) && !isGone);
    if (this.#action) {
      const button = row.querySelector("button");
      button.setAttribute("aria-label", this.#action.label(item));
      button.onclick = () => this.#action.run(item);
    }
    return row;
  }

  #newRow(key, item, hasMark) {
    const cells = this.#columns.map(({ kind = "", title, link }) => {
      const cell = element("td", { class: typeof kind === "function" ? kind(item) : kind });
      if (title) cell.title = title(item);
      const href = link?.(item);
      if (href) cell.append(element("a", { href }));
      return cell;
    });
    if (hasMark) cells.push(element("td", { class: "mark" }));
    if (this.#action) {
      const { text, kind = "" } = this.#action;
      cells.push(element("td", { class: "action" }, element("button", { type: "button", class: `small ${kind}` }, text)));
    }
    cells.forEach((cell, index) => (cell.dataset.label = this.#labels[index] ?? ""));
    return element("tr", { "data-key": key }, ...cells);
  }
}

// tabs.js

// Tabs: one panel is shown. The arrow keys move between the tabs.

class Tabs {
  #tabs;
  #changed;

  // `changed` is called with the id of the tab that is selected.
  constructor(list, changed) {
    this.#tabs = [...list.querySelectorAll('[role="tab"]')];
    this.#changed = changed;
    this.#tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.select(index));
      tab.addEventListener("keydown", (event) => this.#move(event, index));
    });
  }

  select(selected) {
    this.#tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === selected));
      tab.tabIndex = index === selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = index !== selected;
    });
    this.#changed(this.#tabs[selected].id);
  }

  #move(event, index) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (index + step + this.#tabs.length) % this.#tabs.length;
    this.select(next);
    this.#tabs[next].focus();
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
  // The name of the open channel, or "".
  name = "";
  #marks = new Marks();
  #pager = new Pager("members", "members", () => this.#openMembers());
  #table = new Table("members", [{ text: (user) => user, kind: "name", link: (user) => addressOf("users", user) }]);
  #feed = new Feed(
    "channel", CHANNEL_INTERVAL_MS, () => request("GET", this.#path()), describeChannel,
    () => settingHint("use", "occupancy = true", this.name),
  );
  #members = new Feed(
    "members", CHANNEL_INTERVAL_MS, () => this.#loadMembers(), (answer) => this.#showMembers(answer),
    () => settingHint("membership", 'presence = "members"', this.name),
  );
  #history = new History(() => this.#path());
  #tabs = new Tabs(byId("channel-region").querySelector('[role="tablist"]'), (tab) => this.#showTab(tab));

  constructor(control) {
    byId("channel-disconnect").addEventListener("click", () => control.run("disconnect channel", this.name, "channel"));
  }

  open(name) {
    this.#stop();
    this.name = name;
    byId("channel-title").textContent = name;
    byId("channel-none").hidden = true;
    byId("channel-region").hidden = false;
    byId("channel-publish").href = addressOf("publish", name);
    byId("channel-title").focus();
    this.#feed.start();
    this.#tabs.select(0);
  }

  close() {
    this.#stop();
    this.name = "";
    byId("channel-none").hidden = false;
    byId("channel-region").hidden = true;
  }

  // The history is read only while it is shown.
  #showTab(tab) {
    if (tab === "tab-history") this.#history.open();
    else this.#history.close();
    if (tab === "tab-members") this.#openMembers();
    else this.#members.stop();
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

  #path() {
    return `v1/channels/${encodeURIComponent(this.name)}`;
  }

  #loadMembers() {
    return request("GET", `${this.#path()}/members?${new URLSearchParams(this.#pager.query)}`);
  }

  #showMembers({ count, members, next }) {
    this.#table.show(this.#marks.update(new Map(members.map((user) => [user, user])), next));
    this.#pager.update(next);
    return [plural(count, "member") + this.#pager.text];
  }
}

// search.js

// Searches channels by the beginning of their name. The gateway lists them in byte order, so those with the same
// beginning follow each other, and a page can start right before them.

// A name has printable ASCII characters except braces.
const FIRST_CHARACTER = 0x21;
const LAST = "~";
const isBrace = (code) => code === 0x7b || code === 0x7d;

// A valid name right before all names that begin with `prefix`; null if the list must start at its beginning.
function nameBefore(prefix) {
  let code = prefix.charCodeAt(prefix.length - 1) - 1;
  if (isBrace(code)) code -= 1;
  if (code < FIRST_CHARACTER) return null;
  const name = prefix.slice(0, -1) + String.fromCharCode(code) + LAST;
  const [namespace, rest] = name.split(/:(.*)/s);
  if (namespace === "") return null;
  // Before the colon, the namespace is open: any namespace that begins like this follows.
  return rest === undefined ? `${name}:${LAST}` : rest === "" ? null : name;
}

// The parameters of a request for a page of the channels whose name begins with `prefix`. `page` has those of the page.
function searchQuery(prefix, page) {
  if (prefix === "") return page;
  const [namespace, rest] = prefix.split(/:(.*)/s);
  const filter = rest === undefined ? {} : { namespace };
  const start = page.after ?? (rest === "" ? null : nameBefore(prefix));
  return { ...filter, limit: page.limit, ...(start !== null && { after: start }) };
}

// The channels of an answer that match, and the key of the next page, which is null if no later one matches.
function searchResult(prefix, { channels, next }) {
  const found = channels.filter(({ channel }) => channel.startsWith(prefix));
  const isOver = channels.some(({ channel }) => channel > prefix && !channel.startsWith(prefix));
  return { channels: found, next: isOver ? null : next };
}

// Why a text cannot be the name of a channel, or "".
function channelProblem(name) {
  if (name === "all") return "";
  if (/[^!-~]|[{}]/.test(name)) return "A channel has printable ASCII characters without spaces and braces.";
  if (!/^[^:]+:./.test(name)) return "A channel is a namespace, a colon and a name, such as room:7.";
  return name.length > 255 ? "A channel has at most 255 characters." : "";
}

// channels.js

// Lists the channels that have subscribers on any replica, and searches them.


const CHANNELS_INTERVAL_MS = 2_000;
const OCCUPANCY_OFF = "Channels in use are not recorded. Set presence.enabled = true, and occupancy = true in "
  + "[namespaces.<name>].";

class Channels {
  #prefix = "";
  #marks = new Marks();
  #pager = new Pager("in-use", "channels", () => this.#open());
  #table = new Table(
    "in-use",
    [
      { text: ({ channel }) => channel, kind: "code name" },
      { text: ({ count }) => count ?? "not counted", kind: "number" },
      { text: ({ replicas }) => replicas, kind: "number" },
    ],
    {
      text: "Open", kind: "quiet", label: ({ channel }) => `Open ${channel}`,
      run: ({ channel }) => goTo("channels", channel),
    },
  );
  #feed = new Feed(
    "in-use", CHANNELS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer), () => OCCUPANCY_OFF,
  );
  #channel;

  constructor(control) {
    this.#channel = new Channel(control);
    onSubmit("channel-form", () => this.#openEntered());
    byId("channel-name").addEventListener("input", () => this.#search());
    byId("channel-close").addEventListener("click", () => goTo("channels"));
    onView((view, name) => view === "channels" && this.#showChannel(name));
    this.#open();
  }

  #search() {
    const prefix = byId("channel-name").value.trim();
    if (prefix === this.#prefix) return;
    this.#prefix = prefix;
    this.#pager.reset();
    this.#table.clear();
    this.#feed.stop();
    this.#open();
  }

  #openEntered() {
    const name = byId("channel-name").value.trim();
    const problem = channelProblem(name);
    if (problem) return setStatus("in-use-status", problem, "bad");
    goTo("channels", name);
  }

  #showChannel(name) {
    const closed = this.#channel.name;
    if (name === closed) return;
    byId("channels-split").classList.toggle("has-detail", name !== "");
    if (name) this.#channel.open(name);
    else {
      this.#channel.close();
      this.#table.focus(closed);
    }
    this.#table.setCurrent(name);
  }

  // Opens a page of the list.
  #open() {
    this.#marks.reset();
    this.#feed.start();
  }

  #load() {
    const query = searchQuery(this.#prefix, this.#pager.query);
    return request("GET", `v1/channels?${new URLSearchParams(query)}`).then((answer) => searchResult(this.#prefix, answer));
  }

  #show({ channels, next }) {
    this.#table.show(this.#marks.update(new Map(channels.map((one) => [one.channel, one])), next));
    this.#table.setCurrent(this.#channel.name);
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

// connection.js

// Connects as a user, shows its channels, and sends messages and signals.


const EMPTY = () => element("li", { class: "muted" }, "None yet.");
const SOCKET_TEXTS = { idle: "Not connected", connecting: "Connecting…", cut: "Disconnected", closed: "Not connected" };

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

// dialogs.js

// The dialogs of the page.


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

// The list of frames of the console's socket, in both directions, newest first. It can be filtered and paused.


const MAX_FRAMES = 500;
const OP_NAMES = {
  0: "Hello", 1: "Identify", 2: "Ready", 3: "Message", 4: "Subscribe", 5: "Unsubscribe", 6: "Subscription",
  7: "Reconnect", 8: "Gap", 9: "Error", 10: "Heartbeat", 11: "Heartbeat ACK", 12: "Refresh", 13: "Refreshed",
  14: "Room", 15: "Members", 16: "Send", 17: "Sent", 18: "Signal", 19: "History", 20: "Page",
};

// Hides the token on the screen, because the screen may be shared.
const maskToken = (text) => text.replace(/("token":)"(?:[^"\\]|\\.)*"/, '$1"…"');

class Frames {
  #list = byId("frames");
  #region = byId("frames-region");
  #count = 0;
  // The entries by their rows.
  #entries = new Map();
  #isPaused = false;
  // The entries since the list was paused.
  #waiting = [];

  constructor() {
    byId("frames-filter").addEventListener("input", () => this.#filter());
    byId("frames-filter").addEventListener("submit", (event) => event.preventDefault());
    byId("pause-frames").addEventListener("click", () => this.#pause(!this.#isPaused));
    byId("clear-frames").addEventListener("click", () => this.#clear());
  }

  sent(text, op) {
    this.#add({ direction: "sent", text: maskToken(text), op });
  }

  received(text, op) {
    this.#add({ direction: "received", text: maskToken(text), op });
  }

  // Adds an event of the socket, such as its close.
  note(text) {
    this.#add({ direction: "event", text });
  }

  #add({ direction, text, op }) {
    const name = op === undefined ? "" : OP_NAMES[op] ?? `op ${op}`;
    const isHeartbeat = op === 10 || op === 11;
    this.#count += 1;
    const entry = { at: new Date(), direction, text, name, isHeartbeat, found: `${name} ${text}`.toLowerCase() };
    if (this.#isPaused) this.#waiting = [...this.#waiting, entry].slice(-MAX_FRAMES);
    else this.#prepend(entry);
    this.#showCount();
  }

  #prepend(entry) {
    const row = element("li", { class: entry.isHeartbeat ? "heartbeat" : entry.direction }, renderFrame(entry));
    row.hidden = !this.#matches(entry);
    this.#entries.set(row, entry);
    this.#list.prepend(row);
    if (this.#entries.size <= MAX_FRAMES) return;
    this.#entries.delete(this.#list.lastElementChild);
    this.#list.lastElementChild.remove();
  }

  #matches({ direction, isHeartbeat, found }) {
    const wanted = byId("frames-direction").value;
    const isShown = wanted === "" || wanted === direction;
    const isHidden = isHeartbeat && byId("hide-heartbeats").checked;
    return isShown && !isHidden && found.includes(byId("frames-text").value.trim().toLowerCase());
  }

  #filter() {
    for (const [row, entry] of this.#entries) row.hidden = !this.#matches(entry);
    this.#showCount();
  }

  // Frames are still counted while the list is paused, and are listed when it resumes.
  #pause(isPaused) {
    this.#isPaused = isPaused;
    byId("pause-frames").setAttribute("aria-pressed", String(isPaused));
    for (const entry of this.#waiting.splice(0)) this.#prepend(entry);
    this.#showCount();
  }

  #clear() {
    [this.#count, this.#waiting] = [0, []];
    this.#entries.clear();
    this.#list.replaceChildren();
    this.#showCount();
  }

  #showCount() {
    const shown = [...this.#entries.keys()].filter((row) => !row.hidden).length;
    const kept = this.#count > MAX_FRAMES ? `, the newest ${MAX_FRAMES} are kept` : "";
    setText(byId("frames-count"), this.#count ? `${shown} shown of ${this.#count}${kept}` : "");
    setText(byId("pause-frames"), this.#isPaused ? `Resume${this.#waiting.length ? ` (${this.#waiting.length} new)` : ""}` : "Pause");
    this.#region.classList.toggle("is-empty", shown === 0);
    this.#region.dataset.empty = this.#count ? "No frame matches the filter." : "Connect to see frames.";
  }
}

function renderFrame({ at, direction, text, name }) {
  const time = element("span", { class: "time" }, formatTime(at, true));
  if (direction === "event") return element("p", {}, time, element("span", { class: "event" }, text));
  const arrow = direction === "sent" ? "↑ sent" : "↓ received";
  const cells = [
    time, element("span", { class: `direction ${direction}` }, arrow), element("span", { class: "op" }, name),
    element("span", { class: "number" }, formatBytes(byteLength(text))), element("code", { class: "preview" }, preview(text)),
  ];
  return expandable(cells, () => text);
}

// keys.js

// Keyboard shortcuts. A single key is one only outside of fields and dialogs, and the operator can turn these off.


// The field for searching in each view.
const SEARCH_FIELDS = {
  overview: "replicas-region", channels: "channel-name", users: "sessions-user", live: "frames-text",
  publish: "publish-channel", inbox: "inbox-region",
};

// The keys, their description, and what they do.
const SHORTCUTS = [
  ["1", "Overview", () => followLink("overview")],
  ["2", "Channels", () => followLink("channels")],
  ["3", "Users", () => followLink("users")],
  ["4", "Live", () => followLink("live")],
  ["5", "Publish", () => followLink("publish")],
  ["6", "Inbox", () => followLink("inbox")],
  ["/", "Search in this view", () => byId(SEARCH_FIELDS[currentView()]).focus()],
  ["n", "Write a message", () => {
    goTo("publish");
    byId("publish-message").focus();
  }],
  ["p", "Pause or resume the frames", () => byId("pause-frames").click()],
  ["?", "Show the shortcuts", () => byId("help-dialog").showModal()],
];
// Those that the page handles elsewhere.
const OTHERS = [["Ctrl Enter", "Publish, while the message has the focus"], ["Esc", "Close the dialog or the open channel"]];

const isTyping = ({ target }) => target.closest("input:not([type=checkbox]), textarea, select, dialog") !== null;

function handleKey(event) {
  const hasModifier = event.ctrlKey || event.altKey || event.metaKey;
  if (hasModifier || isTyping(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && !byId("channel-region").hidden && currentView() === "channels") {
    byId("channel-close").click();
  }
  const [, , run] = SHORTCUTS.find(([key]) => key === event.key) ?? [];
  if (!run || !byId("shortcuts-on").checked) return;
  event.preventDefault();
  run();
}

function initKeys() {
  const rows = [...SHORTCUTS, ...OTHERS].map(([keys, text]) => {
    const names = keys.split(" ").map((key) => element("kbd", {}, key));
    return element("div", {}, element("dt", {}, ...names), element("dd", {}, text));
  });
  byId("shortcuts").replaceChildren(...rows);
  byId("help-button").addEventListener("click", () => byId("help-dialog").showModal());
  document.addEventListener("keydown", handleKey);
}

// overview.js

// The replicas of the deployment, each with its own report, and a verdict on all of them.


const REPLICAS_INTERVAL_MS = 3_000;
const NONE = "–";

function replicaState({ isMissing, report }) {
  if (isMissing) return ["no answer", "bad"];
  if (!report) return ["no report", "warn"];
  if (report.draining) return ["draining", "warn"];
  return report.reasons.length ? ["not ready", "bad"] : ["ready", "good"];
}

// The text of a field of the report, or a dash if there is no report.
const ofReport = (format) => ({ report }) => (report ? format(report) : NONE);

class Overview {
  // The deliveries of each replica at the answer before, and the time of that answer.
  #before = { at: 0, delivered: new Map() };
  #own = "";
  #table = new Table("replicas", [
    { text: ({ replica }) => replica, kind: ({ replica }) => (replica === this.#own ? "code name own" : "code name") },
    { text: (one) => replicaState(one)[0], kind: (one) => `dot ${replicaState(one)[1]}` },
    { text: ({ sessions }) => (sessions === null ? NONE : formatCount(sessions)), kind: "number" },
    { text: ofReport(({ users }) => formatCount(users)), kind: "number" },
    { text: ofReport(({ channels }) => formatCount(channels)), kind: "number" },
    { text: ({ rate }) => (rate === null ? NONE : formatShort(rate)), kind: "number" },
    { text: ofReport(({ outbound_queued_bytes: bytes }) => formatBytes(bytes)), kind: "number" },
    { text: ofReport(({ probe_ms: ms }) => (ms === null ? NONE : `${formatShort(ms)} ms`)), kind: "number" },
    { text: ofReport(({ version }) => version), kind: "number" },
    { text: ofReport(({ uptime_ms: ms }) => formatDuration(ms)), kind: "number" },
  ]);

  constructor() {
    new Feed("replicas", REPLICAS_INTERVAL_MS, () => request("GET", "v1/replicas"), (answer) => this.#show(answer)).start();
  }

  // The replica that serves this page.
  setOwn(replica) {
    this.#own = replica;
  }

  // `issued` is false if the other replicas could not be asked.
  #show({ replicas, missing, issued = true }) {
    const rates = this.#rates(replicas);
    const answered = replicas.map((one) => ({ ...one, rate: rates.get(one.replica) ?? null }));
    const lost = (issued ? missing : []).map((replica) => ({ replica, isMissing: true, sessions: null, report: null, rate: null }));
    const all = [...answered, ...lost];
    this.#table.show(all.map((item, index) => ({ key: item.replica === "unnamed" ? `unnamed-${index}` : item.replica, item })));
    this.#showTotals(answered, all.length);
    showVerdict(all, issued);
    showNotes(answered);
    if (!issued) return ["The other replicas are not known without Redis", "warn"];
    return [lost.length ? `${plural(lost.length, "replica")} did not answer` : "", lost.length ? "bad" : ""];
  }

  // Deliveries per second, for the replicas that were also in the answer before.
  #rates(replicas) {
    const now = performance.now();
    const seconds = (now - this.#before.at) / 1000;
    const delivered = new Map(replicas.filter(({ report }) => report).map((one) => [one.replica, one.report.publications_delivered]));
    const rates = new Map();
    for (const [replica, count] of delivered) {
      const more = count - (this.#before.delivered.get(replica) ?? Infinity);
      if (more >= 0 && seconds < 3 * REPLICAS_INTERVAL_MS / 1000) rates.set(replica, more / seconds);
    }
    this.#before = { at: now, delivered };
    return rates;
  }

  #showTotals(answered, count) {
    const sum = (value) => answered.reduce((total, one) => total + value(one), 0);
    const isKnown = answered.some(({ rate }) => rate !== null);
    setText(byId("total-replicas"), answered.length === count ? String(count) : `${answered.length} of ${count}`);
    setText(byId("total-sessions"), formatCount(sum(({ sessions }) => sessions)));
    setText(byId("total-deliveries"), isKnown ? formatShort(sum(({ rate }) => rate ?? 0)) : NONE);
    setText(byId("total-queued"), formatBytes(sum(({ report }) => report?.outbound_queued_bytes ?? 0)));
  }
}

function showVerdict(all, issued) {
  const count = (kind) => all.filter((one) => replicaState(one)[1] === kind).length;
  const [bad, good] = [count("bad"), count("good")];
  const isGood = good === all.length;
  const title = !issued ? "This replica is cut off from Redis"
    : isGood ? (good === 1 ? "The replica is ready" : `All ${good} replicas are ready`)
    : `${good} of ${plural(all.length, "replica")} ${good === 1 ? "is" : "are"} ready`;
  const others = all.filter((one) => replicaState(one)[1] !== "good");
  const text = others.map((one) => `${one.replica}: ${replicaState(one)[0]}`).join("; ");
  setText(byId("summary-title"), title);
  setText(byId("summary-text"), text || "Each accepts sockets, and its link to the broker is up.");
  byId("summary").dataset.kind = isGood ? "good" : bad ? "bad" : "warn";
}

// The reasons and the notes of all replicas, each once with the replicas that have it.
function showNotes(answered) {
  const notes = new Map();
  for (const { replica, report } of answered) {
    for (const note of report ? [...report.reasons, ...report.notes] : []) {
      notes.set(note, [...(notes.get(note) ?? []), replica]);
    }
  }
  const list = byId("replica-notes");
  const texts = [...notes].map(([note, names]) => `${names.length === answered.length ? "all" : names.join(", ")}: ${note}`);
  list.hidden = texts.length === 0;
  if (texts.join("\n") === [...list.children].map((one) => one.textContent).join("\n")) return;
  list.replaceChildren(...texts.map((text) => element("li", {}, text)));
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
    [
      { text: ({ user }) => user, kind: "name", link: ({ user }) => addressOf("users", user) },
      { text: describeState, kind: ({ online }) => (online ? "dot good" : "dot") },
      { text: ({ replicas }) => replicas, kind: "number" }, { text: ({ change }) => change, kind: "faint" },
    ],
    { text: "Remove", kind: "quiet", label: ({ user }) => `Remove ${user}`, run: ({ user }) => this.#remove(user) },
  );
  #feed = new Feed(
    "presence", PRESENCE_INTERVAL_MS, () => queryUsers([...this.#users.keys()]), (users) => this.#show(users),
    () => PRESENCE_OFF,
  );

  constructor() {
    onSubmit("presence-form", () => this.#watch());
    byId("user-watch").addEventListener("click", () => {
      byId("presence-users").value = byId("user-title").textContent;
      this.#watch();
    });
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

// sent.js

// The history of what was published from this tab. The browser keeps it until the tab is closed.


const MAX_SENT = 50;
// Longer messages are not listed, because the browser keeps little.
const MAX_MESSAGE = 16_384;
const STORE = "sent";

// The browser may refuse to store anything.
function readStore() {
  try {
    return JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}

function writeStore(entries) {
  try {
    if (entries.length) sessionStorage.setItem(STORE, JSON.stringify(entries));
    else sessionStorage.removeItem(STORE);
  } catch {
    // The list of this page has the entries.
  }
}

class Sent {
  // The newest first: channel, message, durable, at, outcome, received and failed.
  #entries = readStore();
  #rows = new Map();
  #edit;
  #resend;

  // `edit` and `resend` are called with an entry.
  constructor(edit, resend) {
    [this.#edit, this.#resend] = [edit, resend];
    byId("sent-clear").addEventListener("click", () => {
      this.#entries = [];
      this.#show();
      byId("sent-region").focus();
    });
    this.#show();
  }

  // Lists a message that is being published, and returns its entry.
  add(sent) {
    const entry = { ...sent, at: Date.now(), outcome: "publishing…", received: "" };
    if (sent.message.length <= MAX_MESSAGE) this.#entries = [entry, ...this.#entries].slice(0, MAX_SENT);
    this.#show();
    return entry;
  }

  update(entry, news) {
    Object.assign(entry, news);
    this.#rows.delete(entry);
    this.#show();
  }

  #show() {
    writeStore(this.#entries);
    this.#rows = new Map(this.#entries.map((entry) => [entry, this.#rows.get(entry) ?? this.#render(entry)]));
    byId("sent").replaceChildren(...this.#rows.values());
    byId("sent-count").textContent = this.#entries.length ? plural(this.#entries.length, "message") : "";
    byId("sent-clear").disabled = this.#entries.length === 0;
    byId("sent-region").classList.toggle("is-empty", this.#entries.length === 0);
  }

  #render(entry) {
    const { channel, message, durable, at, outcome, received, failed } = entry;
    const time = formatTime(new Date(at));
    const head = [element("span", { class: "time" }, time), element("span", { class: "code strong" }, channel)];
    if (durable) head.push(element("span", { class: "badge" }, "durable"));
    const button = (text, run) => {
      const created = element("button", { type: "button", class: "quiet small", "aria-label": `${text} the message of ${time} to ${channel}` }, text);
      created.addEventListener("click", () => run(entry));
      return created;
    };
    const summary = element("summary", {}, element("code", { class: "preview" }, preview(message)));
    const details = element("details", {}, summary);
    details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(jsonView(message)));
    return element(
      "li", {},
      element("div", { class: "sent-head" }, ...head, element("span", { class: "sent-buttons" }, button("Edit", this.#edit), button("Resend", this.#resend))),
      details,
      element("p", { class: failed ? "bad" : "muted" }, [outcome, received].filter(Boolean).join(", ")),
    );
  }
}

// publish.js

// Publishes messages, checks them while they are typed, and shows the time until the console received them.


const CHANNEL_HINT = "user:42 reaches one user, room:7 its subscribers, all every session.";

class Publish {
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

// user.js

// The user whose sessions are listed: online or away, on any replica.


const USER_INTERVAL_MS = 2_000;

class User {
  #name = "";
  #feed = new Feed("user", USER_INTERVAL_MS, () => queryUsers([this.#name]), (users) => this.#describe(users), () => PRESENCE_OFF);

  // Shows a user, or none for "".
  show(name) {
    if (name === this.#name) return;
    this.#name = name;
    this.#feed.stop();
    byId("user-region").hidden = name === "";
    byId("user-name").textContent = name.slice(0, 2).toUpperCase();
    byId("user-title").textContent = name;
    if (name) this.#feed.start();
  }

  #describe(users) {
    const state = users[this.#name];
    byId("user-region").classList.toggle("online", state.online);
    return [`${describeState(state)}${state.replicas > 0 ? `, on ${plural(state.replicas, "replica")}` : ""}`];
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
  #user = new User();
  #filter = {};
  #pager = new Pager("sessions", "sessions", () => this.#feed.refresh());
  #table;
  #feed = new Feed("sessions", SESSIONS_INTERVAL_MS, () => this.#load(), (answer) => this.#show(answer));

  constructor(control) {
    this.#control = control;
    this.#table = new Table(
      "sessions",
      [
        { text: ({ user }) => user ?? "not identified", kind: "strong", link: ({ user }) => user && addressOf("users", user) },
        { text: formatChannels, kind: "code wrap" },
        { text: ({ age_ms }) => formatDuration(age_ms), kind: "number" },
        { text: ({ queued_bytes }) => formatBytes(queued_bytes), kind: "number" },
        { text: ({ address }) => address ?? "unknown", kind: "code" },
        { text: ({ version }) => version, kind: "number" },
        { text: ({ replica }) => replica, kind: "code" },
        { text: ({ id }) => id.slice(0, 8), kind: "code", title: ({ id }) => id },
      ],
      {
        text: "Disconnect", kind: "danger", label: (session) => `Disconnect session ${nameOf(session)}`,
        run: (session) => this.#disconnect(session),
      },
    );
    onSubmit("sessions-form", () => this.#applyEntered());
    onView((view, user) => view === "users" && this.#showUser(user));
    byId("disconnect-user").addEventListener("click", () => this.#disconnectUser());
    byId("sessions-user").addEventListener("input", (event) => {
      byId("disconnect-user").disabled = event.target.value.trim() === "";
    });
    this.#feed.start();
  }

  refreshSoon() {
    this.#feed.refreshSoon();
  }

  // The address has the user, so that it can be opened again.
  #applyEntered() {
    this.#applyFilter();
    goTo("users", this.#filter.user);
  }

  #showUser(user) {
    if (user === (this.#filter.user ?? "")) return;
    byId("sessions-user").value = user;
    byId("disconnect-user").disabled = user === "";
    this.#applyFilter();
  }

  #applyFilter() {
    const entered = ["user", "channel"].map((name) => [name, byId(`sessions-${name}`).value.trim()]);
    this.#filter = Object.fromEntries(entered.filter(([, value]) => value));
    this.#pager.reset();
    this.#user.show(this.#filter.user ?? "");
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
    this.#applyEntered();
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
    setText(byId("deployment"), `v${status.version}, ${status.profile}`);
    setText(byId("own-replica"), `${status.replica}, up ${formatDuration(status.uptime_ms)}`);
    showDetails(status);
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
      showTrouble("The gateway rejected this key", "bad");
      showHealth("Wrong key", "bad", `The gateway rejected this key. Enter the value of admin.api_key.${seen}`);
    } else if (error.status === 401) {
      showTrouble("This gateway requires its admin key", "warn");
      showHealth("Key required", "warn", `This gateway requires its admin key.${seen}`);
    } else if (error.status) {
      showHealth("Error", "bad", `${error.message}.${seen}`);
    } else {
      showTrouble("The admin port does not answer", "bad");
      showHealth("No answer", "bad", `The admin port does not answer. Retrying.${seen}`);
    }
  }
}

function showDetails(status) {
  const { link } = status;
  showFacts("broker-facts", {
    Kind: status.broker === "redis" ? "Redis" : "memory of this replica",
    Link: link.up ? "up" : "down",
    "Latest probe": link.probe_ms === null ? "none" : `${formatShort(link.probe_ms)} ms`,
    "Durable publishing": link.history ? "available" : "not available",
    "Publications received": formatCount(status.publications_received),
    "Waiting for workers": formatBytes(status.hub_inbox_bytes),
  });
  showFacts("instance-facts", {
    Sockets: status.public_addr,
    "Tokens verified as": status.auth,
    "Mints tokens": status.minting ? "yes, for development" : "no",
    Channels: formatCount(status.channels),
    Subscriptions: formatCount(status.subscriptions),
    "Messages from clients": formatCount(status.client_messages),
  });
}

// Shows in the overview why there is no verdict on the replicas.
function showTrouble(title, kind) {
  setText(byId("summary-title"), title);
  setText(byId("summary-text"), kind === "warn" ? "Enter it with the button below the state." : "\u00a0");
  byId("summary").dataset.kind = kind;
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
initKeys();
const frames = new Frames();
const publish = new Publish();
const overview = new Overview();
const control = new Control(() => sessions.refreshSoon());
const sessions = new Sessions(control);
new Channels(control);
new Presence();
new Inbox();
const status = new Status(showStatus, markFeedsStale, () => connection.roundTrip);
const connection = new Connection(frames, () => status.latest, (channel, text) => publish.handleMessage(channel, text), () => sessions.refreshSoon());
initKeyDialog(() => {
  status.refresh();
  refreshFeeds();
});
initViews();
status.refresh();

function showStatus(now) {
  overview.setOwn(now.replica);
  connection.updateStatus(now);
}
