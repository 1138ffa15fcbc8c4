// Commands to all replicas. The gateway's answers are stubs where several replicas answer.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, close, launch, openConsole, waitForText } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";
import { failure, stub } from "./stubs.mjs";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const dialog = (page) => page.locator("#confirm-dialog");

// Enters a command and its target, and opens the confirmation.
async function enter(page, command, label, target) {
  const form = page.locator("#control-form");
  await form.getByLabel("Command").selectOption(command);
  await form.getByLabel(label, { exact: true }).fill(target);
  await form.getByRole("button", { name: "Send…" }).click();
  await dialog(page).getByRole("button", { name: "Cancel" }).waitFor();
}

test("each command is confirmed, and each replica's answer is shown", async () => {
  const page = await openConsole(browser, gateway);
  const requests = await stub(page, "/v1/control", () => ({ id: "1-0", replicas: { "a-1": 2, "b-2": 1 }, missing: [] }));
  const session = "0123456789abcdef0123456789abcdef";
  const commands = [
    ["Disconnect a user", "User", "42", "Disconnect", { disconnect: { user: "42", reason: "moved" } }],
    ["Disconnect a session", "Session", session, "Disconnect", { disconnect: { session, reason: "moved" } }],
    ["Disconnect all of a channel", "Channel", "room:7", "Disconnect", { disconnect: { channel: "room:7", reason: "moved" } }],
    ["Revoke the tokens of a user", "User", "42", "Revoke", { revoke: { user: "42" } }],
    ["Revoke a token", "Token id (jti)", "t-1", "Revoke", { revoke: { jti: "t-1" } }],
  ];
  for (const [command, label, target, button, expected] of commands) {
    await enter(page, command, label, target);
    await waitForText(page, "#confirm-text", target);
    const reason = dialog(page).getByLabel("Reason");
    assert.equal(await reason.isVisible(), button === "Disconnect", command);
    if (button === "Disconnect") await reason.fill("moved");
    await assertAccessible(page, command);
    await page.locator("#control-outcome").evaluate((outcome) => outcome.replaceChildren());
    await dialog(page).getByRole("button", { name: button, exact: true }).click();
    await waitForText(page, "#control-outcome", "3 sessions affected, by replica:");
    assert.deepEqual(await page.locator("#control-outcome li").allInnerTexts(), ["a-1: 2", "b-2: 1"]);
    assert.deepEqual(requests.pop().body, expected);
  }
  await close(page);
});

test("missing replicas are named, with what they will do", async () => {
  const page = await openConsole(browser, gateway);
  const missing = ["c-3"];
  await stub(page, "/v1/control", () => ({ id: "1-0", replicas: { "a-1": 1 }, missing }));
  const send = async () => {
    await enter(page, "Disconnect a user", "User", "42");
    await dialog(page).getByRole("button", { name: "Disconnect", exact: true }).click();
  };
  await send();
  await waitForText(page, "#control-outcome .warn", "This replica did not answer: c-3. It applies the command when it is back.");
  await assertAccessible(page, "a missing replica");
  missing.push("d-4");
  await send();
  await waitForText(page, "#control-outcome .warn", "These replicas did not answer: c-3, d-4. They apply the command when they are back.");
  await close(page);
});

test("a cancelled command is not sent, and an error is shown", async () => {
  const page = await openConsole(browser, gateway);
  const requests = await stub(page, "/v1/control", () => failure(503, "broker_unavailable", "there is no connection to Redis"));
  await enter(page, "Revoke a token", "Token id (jti)", "t-1");
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "hidden" });
  await enter(page, "Revoke a token", "Token id (jti)", "t-1");
  assert.equal(requests.length, 0);
  await dialog(page).getByRole("button", { name: "Revoke", exact: true }).click();
  await waitForText(page, "#control-outcome .bad", "there is no connection to Redis");
  page.faults = page.faults.filter((fault) => !fault.includes("503"));
  await close(page);
});

test("the list of sessions names replicas that did not answer", async () => {
  const page = await openConsole(browser, gateway);
  const session = {
    id: "0123456789abcdef0123456789abcdef", user: "42", version: 2, channels: ["all"], subscriptions: 1, age_ms: 1000,
    queued_bytes: 0, address: null, replica: "a-1",
  };
  await stub(page, "/v1/sessions", () => ({ sessions: [session], total: 1, truncated: false, next: null, missing: ["c-3"] }));
  await waitForText(page, "#sessions-status.warn", "1 session. This replica did not answer: c-3. Its sessions are not listed.");
  await waitForText(page, "#sessions tr", "a-1");
  await assertAccessible(page, "a missing replica");
  await close(page);
});
