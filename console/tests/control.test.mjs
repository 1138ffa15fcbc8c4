// Commands to all replicas. One real gateway is one replica; the answers of several replicas are stubs.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, connect, launch, openConsole, openSockets, openView, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";
import { failure, stub } from "./stubs.mjs";

const SECRET = "0123456789abcdef0123456789abcdef";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway({ "auth.kind": "jwt", "auth.secret": SECRET })]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const dialog = (page) => page.locator("#confirm-dialog");

// Enters a command and its target, and opens the confirmation.
async function enter(page, command, label, target) {
  await openView(page, "Users");
  const form = page.locator("#control-form");
  await form.getByLabel("Command").selectOption(command);
  await form.getByLabel(label, { exact: true }).fill(target);
  await form.getByRole("button", { name: "Send…" }).click();
  await dialog(page).getByRole("button", { name: "Cancel" }).waitFor();
}

// Confirms the open question, with a reason for a disconnect.
async function confirm(page, button, reason) {
  if (reason) await dialog(page).getByLabel("Reason").fill(reason);
  await dialog(page).getByRole("button", { name: button, exact: true }).click();
}

test("sessions are disconnected by user, session and channel, with a reason", async () => {
  const page = await openConsole(browser, gateway);
  for (const [command, label] of [["Disconnect a user", "User"], ["Disconnect a session", "Session"], ["Disconnect all of a channel", "Channel"]]) {
    const other = await openConsole(browser, gateway);
    await connect(other, "80", "room:7");
    const [session] = (await (await fetch(`${gateway.admin}/v1/sessions?user=80`)).json()).sessions;
    const target = { User: "80", Session: session.id, Channel: "room:7" }[label];
    await enter(page, command, label, target);
    await waitForText(page, "#confirm-text", target);
    await assertAccessible(page, command);
    await confirm(page, "Disconnect", `moved: ${label}`);
    await waitForText(other, "#connection-state", `Closed: 4010 moved: ${label}`);
    await waitForText(page, "#control-outcome", "1 session affected, by replica:");
    assert.deepEqual(await page.locator("#control-outcome li").allInnerTexts(), [`${session.replica}: 1`]);
    await page.locator("#control-outcome").evaluate((outcome) => outcome.replaceChildren());
    await close(other);
  }
  await enter(page, "Disconnect a user", "User", "nobody");
  await confirm(page, "Disconnect");
  await waitForText(page, "#control-outcome", "0 sessions affected, by replica:");
  await close(page);
});

test("a revoked token ends its session and is refused", async () => {
  const page = await openConsole(browser, gateway);
  for (const [command, label] of [["Revoke a token", "Token id (jti)"], ["Revoke the tokens of a user", "User"]]) {
    const user = label === "User" ? "82" : "81";
    const { token } = await gateway.post("/v1/token", { user, channels: [] });
    const { jti } = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
    const other = await openConsole(browser, gateway);
    await openView(other, "Live");
    await other.locator("#connect-form").getByLabel("Token").fill(token);
    await connect(other, user);
    await enter(page, command, label, label === "User" ? user : jti);
    assert.equal(await dialog(page).getByLabel("Reason").isVisible(), false);
    await assertAccessible(page, command);
    await confirm(page, "Revoke");
    await waitForText(page, "#control-outcome", "1 session affected, by replica:");
    await waitForText(other, "#connection-state", "Closed: 4009 token revoked");
    await other.getByRole("button", { name: "Reconnect" }).click();
    await waitForText(other, "#connection-state", "Closed: 4003");
    await close(other);
  }
  await close(page);
});

test("the answers of several replicas are listed by name", async () => {
  const page = await openConsole(browser, gateway);
  const requests = await stub(page, "/v1/control", () => ({ id: "1-0", replicas: { "b-2": 1, "a-1": 2 }, missing: [] }));
  await enter(page, "Disconnect a user", "User", "42");
  await confirm(page, "Disconnect");
  await waitForText(page, "#control-outcome", "3 sessions affected, by replica:");
  assert.deepEqual(await page.locator("#control-outcome li").allInnerTexts(), ["a-1: 2", "b-2: 1"]);
  assert.deepEqual(requests[0].body, { disconnect: { user: "42" } });
  await close(page);
});

test("missing replicas are named, with what they will do", async () => {
  const page = await openConsole(browser, gateway);
  const missing = ["c-3"];
  await stub(page, "/v1/control", () => ({ id: "1-0", replicas: { "a-1": 1 }, missing }));
  const send = async () => {
    await enter(page, "Disconnect a user", "User", "42");
    await confirm(page, "Disconnect");
  };
  await send();
  await waitForText(page, "#control-outcome .warn", "1 replica did not answer: c-3. It applies the command when it is back.");
  await assertAccessible(page, "a missing replica");
  missing.push("d-4");
  await send();
  await waitForText(page, "#control-outcome .warn", "2 replicas did not answer: c-3, d-4. They apply the command when they are back.");
  missing.splice(0, 2, "unnamed");
  await send();
  await waitForText(page, "#control-outcome .warn", "1 replica did not answer. It applies");
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
  await confirm(page, "Revoke");
  await waitForText(page, "#control-outcome .bad", "there is no connection to Redis");
  page.faults = page.faults.filter((fault) => !fault.includes("503"));
  await close(page);
});

test("sessions are listed by user, by channel and by page", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  const closeAll = await openSockets(other, gateway, Array(130).fill("90"), ["room:90"]);
  await openView(page, "Users");
  const form = page.locator("#sessions-form");
  const show = async (user, channel) => {
    await form.getByLabel("User", { exact: true }).fill(user);
    await form.getByLabel("Channel", { exact: true }).fill(channel);
    await form.getByRole("button", { name: "Show" }).click();
  };
  await show("", "room:90");
  await waitForText(page, "#sessions-status", "130 sessions, page 1");
  assert.equal(await page.locator("#sessions tr").count(), 100);
  await page.getByRole("button", { name: "Next page of sessions" }).click();
  await waitForText(page, "#sessions-status", "130 sessions, page 2");
  assert.equal(await page.locator("#sessions tr").count(), 30);
  assert.equal(await page.getByRole("button", { name: "Next page of sessions" }).getAttribute("aria-disabled"), "true");
  await assertAccessible(page, "the second page");
  await page.getByRole("button", { name: "Previous page of sessions" }).click();
  await waitForText(page, "#sessions-status", "130 sessions, page 1");
  await show("91", "room:90");
  await waitForText(page, "#sessions-status", "0 sessions");
  await show("90", "");
  await waitForText(page, "#sessions-status", "130 sessions");
  await closeAll();
  await close(other);
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});

test("the list of sessions names replicas that did not answer", async () => {
  const page = await openConsole(browser, gateway);
  const session = {
    id: "0123456789abcdef0123456789abcdef", user: "42", version: 2, channels: ["all"], subscriptions: 1, age_ms: 1000,
    queued_bytes: 0, address: null, replica: "a-1",
  };
  await stub(page, "/v1/sessions", () => ({ sessions: [session], total: 1, truncated: false, next: null, missing: ["c-3"] }));
  await openView(page, "Users");
  await waitForText(page, "#sessions-status.warn", "1 session. 1 replica did not answer: c-3. Its sessions are not listed.");
  await waitForText(page, "#sessions tr", "a-1");
  await assertAccessible(page, "a missing replica");
  await close(page);
});
