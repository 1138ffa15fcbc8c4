// Commands to all replicas: disconnects sessions and revokes tokens, after a confirmation, and shows the answers.

import { request } from "./api.js";
import { confirmAction } from "./dialogs.js";
import { plural } from "./format.js";
import { byId, element, onSubmit } from "./page.js";

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

export class Control {
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
export function describeMissing(missing = [], one, several) {
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
