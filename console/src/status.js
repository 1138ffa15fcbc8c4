// The header of the page and the charts, refreshed every two seconds while the page is visible.

import { request, isKeyWrong } from "./api.js";
import { Chart } from "./chart.js";
import { byId, formatTime, formatDuration, showNotice } from "./page.js";

const STATUS_INTERVAL_MS = 2_000;
const formatWhole = (value) => String(Math.round(value));
const formatShort = (value) => (value >= 100 ? formatWhole(value) : value.toFixed(1));

export class Status {
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
