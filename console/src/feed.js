// Data that the page requests regularly while the page and the view with the data are visible.

import { formatTime } from "./format.js";
import { byId, setStatus } from "./page.js";
import { isInView, onView } from "./views.js";

const feeds = [];

export const refreshFeeds = () => feeds.forEach((feed) => feed.refresh());
export const markFeedsStale = () => feeds.forEach((feed) => feed.markStale());

document.addEventListener("visibilitychange", refreshFeeds);
onView(refreshFeeds);

// A request that the gateway refuses is not repeated until the operator changes something.
const isRefusal = ({ status }) => status >= 400 && status < 500;

export class Feed {
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
