// The header of the page and the charts, refreshed every two seconds while the page is visible.

import { request, isKeyWrong } from "./api.js";
import { Chart } from "./chart.js";
import { formatBytes, formatCount, formatDuration, formatShort, formatTime } from "./format.js";
import { byId, setText, showFacts, showNotice } from "./page.js";

const STATUS_INTERVAL_MS = 2_000;
const formatWhole = (value) => String(Math.round(value));

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
