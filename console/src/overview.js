// The replicas of the deployment, each with its own report, and a verdict on all of them.

import { request } from "./api.js";
import { Feed } from "./feed.js";
import { formatBytes, formatCount, formatDuration, formatShort, plural } from "./format.js";
import { byId, element, setText } from "./page.js";
import { Table } from "./table.js";

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

export class Overview {
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
