// The console in Chromium, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, connect, launch, openConsole, openView, publish, scriptSocket, waitForFrame, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const KEY = "the-key-of-the-admin-api";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

test("a published message is shown, and its frames are listed", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "42");
  await publish(page, "user:42", '{"content": "Testing post"}', false);
  await waitForText(page, "#publish-result", "Received here after");
  await waitForFrame(page, '{"op":3,"channel":"user:42","message":{"content": "Testing post"}}');
  await waitForText(page, "#frames li", '{"op":1,"token":"…","channels":[]}');
  assert.match(await page.locator("#frames li").last().innerText(), /received\s+Hello\s+\d+ B/);
  await assertAccessible(page, "connected");
  // The charts show the new session.
  await openView(page, "Overview");
  await waitForText(page, "#chart-connections .value", "1");
  await waitForText(page, "#chart-latency .value", "ms");
  await waitForText(page, "#chart-link .value", "up");
  assert.match(await page.locator("#chart-connections svg").getAttribute("aria-label"), /^Connections: 1 /);
  await assertAccessible(page, "the overview");
  await close(page);
});

test("durable messages are recovered and shown after a reconnect", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "43", "public:news");
  await publish(page, "public:news", '{"number": 1}', true);
  await waitForFrame(page, '"message":{"number": 1}');
  await page.getByRole("button", { name: "Cut connection" }).click();
  await waitForText(page, "#connection-state", "The connection is cut");
  await publish(page, "public:news", '{"number": 2}', true);
  await waitForText(page, "#publish-result", "Published at ");
  await openView(page, "Live");
  assert.equal(await page.locator("#frames").getByText('"number": 2').count(), 0);
  await page.getByRole("button", { name: "Reconnect" }).click();
  await waitForText(page, "#connection-state", "all durable messages recovered");
  await waitForFrame(page, '"message":{"number": 2}');
  assert.equal(await page.locator("#channel-list").getByText("recovered: true").count(), 3);
  await assertAccessible(page, "after a resume");
  await close(page);
});

test("a channel is shown as recovering until its history is read", async () => {
  const page = await openConsole(browser, gateway);
  const server = await scriptSocket(page, (channels) => channels.map(({ channel, since }) => {
    return { channel, state: "recovering", ...(since && { position: since }) };
  }));
  const row = page.locator("#channel-list li").filter({ hasText: "public:news" });
  const joined = { op: 6, channel: "public:news", state: "subscribed" };
  await connect(page, "51", "public:news");
  await waitForText(page, "#connection-state", "Connected as 51; recovering: public:news.");
  assert.match(await row.innerText(), /public:news\s*recovering\s*Unsubscribe/);
  await assertAccessible(page, "recovering");
  server.send({ ...joined, position: "5-1" });
  await waitForText(page, "#connection-state", "public:news: subscribed");
  assert.doesNotMatch(await row.innerText(), /recover/);
  const reconnect = async () => {
    await page.getByRole("button", { name: "Cut connection" }).click();
    await page.getByRole("button", { name: "Reconnect" }).click();
    await waitForText(page, "#connection-state", "Connected as 51; recovering: public:news.");
    assert.deepEqual(server.requested, [{ channel: "public:news", since: "5-1" }]);
  };
  // The first of these sockets is cut before the history is read.
  await reconnect();
  await reconnect();
  server.send({ ...joined, position: "5-1", recovered: true });
  await waitForText(page, "#connection-state", "public:news: subscribed; all durable messages recovered");
  assert.match(await row.innerText(), /5-1\s*recovered: true/);
  await reconnect();
  server.send({ ...joined, position: "9-0", recovered: false });
  await waitForText(page, "#connection-state", "public:news: subscribed; not recovered: public:news");
  const other = { op: 6, channel: "public:chat" };
  await page.getByLabel("Subscribe to").fill(other.channel);
  await page.getByRole("button", { name: "Subscribe", exact: true }).click();
  server.send({ ...other, state: "recovering" });
  await waitForText(page, "#connection-state", "public:chat: recovering");
  await waitForText(page, "#channel-list li", "public:chat");
  server.send({ ...other, state: "refused", reason: "unavailable" });
  await waitForText(page, "#connection-state", "public:chat: refused (unavailable)");
  assert.equal(await page.locator("#channel-list li").count(), 1);
  await close(page);
});

test("channels are subscribed and unsubscribed, and refusals are shown", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "44");
  const subscribe = async (channel) => {
    await page.getByLabel("Subscribe to").fill(channel);
    await page.getByRole("button", { name: "Subscribe", exact: true }).click();
  };
  await subscribe("room:7");
  await waitForText(page, "#connection-state", "room:7: refused (not_allowed)");
  await subscribe("public:news");
  await page.getByRole("button", { name: "Unsubscribe from public:news" }).click();
  await waitForText(page, "#connection-state", "public:news: unsubscribed");
  await publish(page, "user:44", "{", false);
  await waitForText(page, "#publish-result", "The message is not valid JSON");
  await close(page);
});

test("version 1 can be selected", async () => {
  const page = await openConsole(browser, gateway);
  await openView(page, "Live");
  await page.getByLabel("Protocol").selectOption("1");
  await connect(page, "45");
  await publish(page, "user:45", '"old"', true);
  await waitForFrame(page, '{"op":3,"message":"old"}');
  await close(page);
});

test("sessions are listed and disconnected, singly and by user", async () => {
  const page = await openConsole(browser, gateway);
  const others = await Promise.all([openConsole(browser, gateway), openConsole(browser, gateway)]);
  await connect(page, "46");
  for (const other of others) await connect(other, "47", "public:news");
  await openView(page, "Users");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill("47");
  await form.getByRole("button", { name: "Show" }).click();
  await waitForText(page, "#sessions-status", "2 sessions");
  const row = page.locator("#sessions tr").first();
  assert.match(await row.innerText(), /^47\s+user:47, all, public:news\s+\d+ s\s+0 B\s+127\.0\.0\.1\s+2\s/);
  await row.getByRole("button").click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Cancel" }).click();
  await row.getByRole("button").click();
  await assertAccessible(page, "confirming");
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await waitForText(page, "#sessions-status", "1 session");
  await page.getByRole("button", { name: "Disconnect this user" }).click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await waitForText(page, "#sessions-status", "0 sessions");
  for (const other of others) {
    await waitForText(other, "#connection-state", "Closed: 4010 disconnected by the backend");
    await close(other);
  }
  await openView(page, "Live");
  await waitForText(page, "#connection-state", "Connected as 46");
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});

test("a confirmation that reopens at once gets its own answer", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "56");
  await openView(page, "Users");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill("56");
  await form.getByRole("button", { name: "Show" }).click();
  await waitForText(page, "#sessions-status", "1 session");
  // In one task, so that the close event of the first dialog arrives while the second is open.
  await page.evaluate(() => {
    const button = document.querySelector("#sessions button");
    button.click();
    document.querySelector("#confirm-dialog").close("");
    button.click();
  });
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await openView(page, "Live");
  await waitForText(page, "#connection-state", "Closed: 4010");
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});

test("a required key is requested and kept only in memory", async () => {
  const locked = await startGateway({ "admin.api_key": KEY });
  try {
    const page = await openConsole(browser, locked);
    const dialog = page.locator("#key-dialog");
    await dialog.getByLabel("Key").waitFor();
    assert.equal(await page.locator("#health").innerText(), "Key required");
    await assertAccessible(page, "the key dialog");
    await dialog.getByLabel("Key").fill("another-key");
    await dialog.getByRole("button", { name: "Use key" }).click();
    await dialog.getByLabel("Key").waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Key…" }).click();
    await dialog.getByLabel("Key").fill(KEY);
    await dialog.getByRole("button", { name: "Use key" }).click();
    await waitForText(page, "#health", "Ready");
    await connect(page, "50");
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
    // The browser logs each 401.
    page.faults = page.faults.filter((fault) => !fault.includes("401"));
    await close(page);
  } finally {
    await locked.stop();
  }
});

test("production requires a token, and only allowed origins get a socket", async () => {
  const secret = "0123456789abcdef0123456789abcdef";
  const strict = await startGateway(
    {
      "auth.kind": "jwt", "auth.secret": secret, "broker.url": "memory:", "admin.api_key": KEY,
      "server.allowed_origins": "https://app.example.com",
    },
    { GATEWAY_PROFILE: "production" },
  );
  try {
    const page = await openConsole(browser, strict);
    await page.locator("#key").fill(KEY);
    await page.getByRole("button", { name: "Use key" }).click();
    await openView(page, "Live");
    await waitForText(page, "#token-hint", "from your login service");
    await page.locator("#connect-form").getByLabel("Token").fill("x.y.z");
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await waitForText(page, "#connection-state", "server.allowed_origins");
    page.faults = page.faults.filter((fault) => !/401|403/.test(fault));
    await close(page);
  } finally {
    await strict.stop();
  }
});

test("a wrong key is reported and causes no further requests", async () => {
  const locked = await startGateway({ "admin.api_key": KEY });
  try {
    const page = await openConsole(browser, locked);
    const dialog = page.locator("#key-dialog");
    await dialog.getByLabel("Key").fill("another-key");
    assert.equal(await page.locator("#key-wrong").isVisible(), false);
    await dialog.getByRole("button", { name: "Use key" }).click();
    await page.locator("#key-wrong").waitFor();
    await waitForText(page, "#health", "Wrong key");
    await assertAccessible(page, "a wrong key");
    let requests = 0;
    page.on("request", () => requests++);
    await page.waitForTimeout(5_000);
    assert.equal(requests, 0);
    await dialog.getByLabel("Key").fill(KEY);
    await dialog.getByRole("button", { name: "Use key" }).click();
    await waitForText(page, "#health", "Ready");
    page.faults = page.faults.filter((fault) => !fault.includes("401"));
    await close(page);
  } finally {
    await locked.stop();
  }
});

test("the list of sessions refreshes itself and keeps existing rows", async () => {
  const page = await openConsole(browser, gateway);
  await openView(page, "Users");
  await page.locator("#sessions-form").getByLabel("User", { exact: true }).fill("58");
  await page.locator("#sessions-form").getByRole("button", { name: "Show" }).click();
  await waitForText(page, "#sessions-status", "0 sessions");
  const other = await openConsole(browser, gateway);
  await connect(other, "58");
  await waitForText(page, "#sessions-status", "1 session");
  await page.evaluate(() => (document.querySelector("#sessions button").marked = true));
  const age = await page.locator("#sessions td.number").first().innerText();
  await page.waitForFunction((age) => document.querySelector("#sessions td.number")?.textContent !== age, age);
  assert.equal(await page.evaluate(() => document.querySelector("#sessions button").marked), true);
  await close(other);
  await waitForText(page, "#sessions-status", "0 sessions");
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});

test("an error is highlighted until the next success", async () => {
  const page = await openConsole(browser, gateway);
  const color = () => page.locator("#publish-result").evaluate((result) => getComputedStyle(result).color);
  await publish(page, "user:60", "1", false);
  await waitForText(page, "#publish-result", "Published");
  const usual = await color();
  await publish(page, "nonsense", "1", false);
  await page.locator("#publish-result.bad").waitFor();
  assert.notEqual(await color(), usual);
  await publish(page, "user:60", "1", false);
  await page.locator("#publish-result:not(.bad)").waitFor();
  assert.equal(await color(), usual);
  page.faults = page.faults.filter((fault) => !fault.includes("400"));
  await close(page);
});
