// The console in a real browser, against a real gateway.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { assertAccessible, close, connect, launch, openConsole, publish, says, scriptSocket } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const KEY = "the-key-of-the-admin-api";
const images = process.env.SCREENSHOTS && join(dirname(fileURLToPath(import.meta.url)), "..", "..", "docs", "images");
if (images) mkdirSync(images, { recursive: true });

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

// For the documentation, when it is asked for.
const picture = (page, name, options) => images && page.screenshot({ path: join(images, `${name}.png`), ...options });

// So that the charts of a picture have something to show: somebody else is there and hears something.
async function passSomeTime() {
  const other = await openConsole(browser, gateway);
  await connect(other, "41");
  for (let number = 0; number < 36; number++) {
    const count = 1 + Math.round(3 + 3 * Math.sin(number / 4));
    for (let more = 0; more < count; more++) await gateway.post("/v1/publish", { channel: "user:41", message: number });
    await other.waitForTimeout(500);
  }
  await close(other);
}

test("a message that is published is on the screen, and both frames of it are listed", async () => {
  const page = await openConsole(browser, gateway);
  if (images) await passSomeTime();
  await connect(page, "42");
  await publish(page, "user:42", '{"content": "Testing post"}', false);
  await says(page, "#last-message", '{"content":"Testing post"}');
  await says(page, "#publish-result", "Received here after");
  await says(page, "#frames li", '{"op":3,"channel":"user:42","message":{"content": "Testing post"}}');
  await says(page, "#frames li", '{"op":1,"token":"…","channels":[]}');
  assert.match(await page.locator("#frames li").last().innerText(), /received\s+Hello\s+\d+ B/);
  // The charts have caught up.
  await says(page, "#chart-connections .value", "1");
  await says(page, "#chart-latency .value", "ms");
  await says(page, "#chart-link .value", "up");
  assert.match(await page.locator("#chart-connections svg").getAttribute("aria-label"), /^Connections: 1 /);
  await assertAccessible(page, "connected");
  await page.setViewportSize({ width: 880, height: 900 });
  await picture(page, "console", { fullPage: true, clip: { x: 0, y: 0, width: 880, height: 1125 } });
  await close(page);
});

test("who comes back after a cut is given what was durable, and is told so", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "43", "public:news");
  await publish(page, "public:news", '{"number": 1}', true);
  await says(page, "#last-message", '{"number":1}');
  await page.getByRole("button", { name: "Cut the line" }).click();
  await says(page, "#connection-state", "The line is cut");
  await publish(page, "public:news", '{"number": 2}', true);
  await says(page, "#publish-result", "Published at ");
  assert.match(await page.locator("#last-message").innerText(), /"number":1/);
  await page.getByRole("button", { name: "Come back" }).click();
  await says(page, "#connection-state", "everything durable was recovered");
  await says(page, "#last-message", '{"number":2}');
  assert.equal(await page.locator("#channel-list").getByText("recovered: true").count(), 3);
  await assertAccessible(page, "after a resume");
  await picture(page, "console-resume");
  await close(page);
});

test("a channel is shown as recovering until its history was read", async () => {
  const page = await openConsole(browser, gateway);
  const line = await scriptSocket(page, (channels) => channels.map(({ channel, since }) => {
    return { channel, state: "recovering", ...(since && { position: since }) };
  }));
  const row = page.locator("#channel-list li").filter({ hasText: "public:news" });
  const joined = { op: 6, channel: "public:news", state: "subscribed" };
  await connect(page, "51", "public:news");
  await says(page, "#connection-state", "Connected as 51; recovering: public:news.");
  assert.match(await row.innerText(), /public:news\s*recovering\s*Leave/);
  await assertAccessible(page, "recovering");
  line.say({ ...joined, position: "5-1" });
  await says(page, "#connection-state", "public:news: subscribed");
  assert.doesNotMatch(await row.innerText(), /recover/);
  const comeBack = async () => {
    await page.getByRole("button", { name: "Cut the line" }).click();
    await page.getByRole("button", { name: "Come back" }).click();
    await says(page, "#connection-state", "Connected as 51; recovering: public:news.");
    assert.deepEqual(line.asked, [{ channel: "public:news", since: "5-1" }]);
  };
  // The first of these sockets is cut before the history was read.
  await comeBack();
  await comeBack();
  line.say({ ...joined, position: "5-1", recovered: true });
  await says(page, "#connection-state", "public:news: subscribed; everything durable was recovered");
  assert.match(await row.innerText(), /5-1\s*recovered: true/);
  await comeBack();
  line.say({ ...joined, position: "9-0", recovered: false });
  await says(page, "#connection-state", "public:news: subscribed; not recovered: public:news");
  const other = { op: 6, channel: "public:chat" };
  await page.getByLabel("Subscribe to").fill(other.channel);
  await page.getByRole("button", { name: "Subscribe" }).click();
  line.say({ ...other, state: "recovering" });
  await says(page, "#connection-state", "public:chat: recovering");
  await says(page, "#channel-list li", "public:chat");
  line.say({ ...other, state: "refused", reason: "unavailable" });
  await says(page, "#connection-state", "public:chat: refused (unavailable)");
  assert.equal(await page.locator("#channel-list li").count(), 1);
  await close(page);
});

test("channels are joined and left, and what is refused is said", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "44");
  const subscribe = async (channel) => {
    await page.getByLabel("Subscribe to").fill(channel);
    await page.getByRole("button", { name: "Subscribe" }).click();
  };
  await subscribe("room:7");
  await says(page, "#connection-state", "room:7: refused (not_allowed)");
  await subscribe("public:news");
  await page.getByRole("button", { name: "Leave public:news" }).click();
  await says(page, "#connection-state", "public:news: unsubscribed");
  await publish(page, "user:44", "{", false);
  await says(page, "#publish-result", "The message is not JSON");
  await close(page);
});

test("version 1 is spoken as well", async () => {
  const page = await openConsole(browser, gateway);
  await page.getByLabel("Protocol").selectOption("1");
  await connect(page, "45");
  await publish(page, "user:45", '"old"', true);
  await says(page, "#last-message", '"old"');
  await says(page, "#frames li", '{"op":3,"message":"old"}');
  await close(page);
});

test("the sessions are listed, one is disconnected, and then all of a user", async () => {
  const page = await openConsole(browser, gateway);
  const others = await Promise.all([openConsole(browser, gateway), openConsole(browser, gateway)]);
  await connect(page, "46");
  for (const other of others) await connect(other, "47", "public:news");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill("47");
  await form.getByRole("button", { name: "Show" }).click();
  await says(page, "#sessions-count", "2 on this replica");
  const row = page.locator("#sessions tr").first();
  assert.match(await row.innerText(), /^47\s+user:47, all, public:news\s+\d+ s\s+0 B\s+127\.0\.0\.1\s+2\s/);
  if (images) await page.locator("section:has(#sessions)").screenshot({ path: join(images, "console-sessions.png") });
  await row.getByRole("button").click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Cancel" }).click();
  await row.getByRole("button").click();
  await assertAccessible(page, "asking");
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await says(page, "#sessions-count", "1 on this replica");
  await page.getByRole("button", { name: "Disconnect this user" }).click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await says(page, "#sessions-count", "0 on this replica");
  for (const other of others) {
    await says(other, "#connection-state", "Closed: 4010 disconnected by the backend");
    await close(other);
  }
  await says(page, "#connection-state", "Connected as 46");
  await close(page);
});

test("a question that is asked again at once has an answer of its own", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "56");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill("56");
  await form.getByRole("button", { name: "Show" }).click();
  await says(page, "#sessions-count", "1 on this replica");
  // All in one go: that the first dialog was closed is told when the second is open.
  await page.evaluate(() => {
    const button = document.querySelector("#sessions button");
    button.click();
    document.querySelector("#confirm-dialog").close("");
    button.click();
  });
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await says(page, "#connection-state", "Closed: 4010");
  await close(page);
});

test("the charts show what goes on, and a link that is down", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "49");
  for (let number = 0; number < 20; number++) await gateway.post("/v1/publish", { channel: "user:49", message: number });
  const label = (name) => page.locator(`#chart-${name} svg`).getAttribute("aria-label");
  await page.waitForFunction(() => / between 0\.0 and (?!0\.0)/.test(document.querySelector("#chart-deliveries svg").getAttribute("aria-label")));
  await says(page, "#chart-latency .value", /^\d+(\.\d)? ms/);
  assert.match(await label("latency"), /^Round trip of this console: [\d.]+ ms/);
  assert.match(await label("link"), /^Link to the broker: up memory/);
  for (const name of ["connections", "deliveries", "latency", "link"]) {
    assert.match(await page.locator(`#chart-${name} .curve`).getAttribute("d"), /^M[\d.]+ [\d.]+h/, name);
  }
  await close(page);
  // Nobody listens there.
  const cut = await startGateway({ "broker.url": "redis://127.0.0.1:1" });
  try {
    const other = await openConsole(browser, cut);
    await says(other, "#chart-link .value", "down redis");
    await says(other, "#health", "Not ready");
    await says(other, "#notice", "redis: cannot connect");
    assert.match(await other.locator("#chart-link svg").getAttribute("aria-label"), /^Link to the broker: down/);
    await close(other);
  } finally {
    await cut.stop();
  }
});

test("it looks as the documentation shows it", { skip: !images }, async () => {
  const phone = await openConsole(browser, gateway, { viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  await connect(phone, "49", "public:news");
  await publish(phone, "public:news", '{"text": "Good evening"}', true);
  await says(phone, "#last-message", "Good evening");
  await phone.evaluate(() => scrollTo(0, 0));
  await picture(phone, "console-phone");
  await close(phone);
  const dark = await openConsole(browser, gateway, { colorScheme: "dark" });
  await connect(dark, "49");
  await publish(dark, "user:49", '{"content": "Good night"}', true);
  await says(dark, "#last-message", "Good night");
  await picture(dark, "console-dark");
  await close(dark);
});

test("with a key the page asks for it, keeps it in memory, and shows nothing before", async () => {
  const locked = await startGateway({ "admin.api_key": KEY });
  try {
    const page = await openConsole(browser, locked);
    const dialog = page.locator("#key-dialog");
    await dialog.getByLabel("Key").waitFor();
    assert.equal(await page.locator("#health").innerText(), "Key needed");
    await assertAccessible(page, "asking for the key");
    await dialog.getByLabel("Key").fill("another-key");
    await dialog.getByRole("button", { name: "Use it" }).click();
    await dialog.getByLabel("Key").waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await page.getByRole("button", { name: "Key…" }).click();
    await dialog.getByLabel("Key").fill(KEY);
    await dialog.getByRole("button", { name: "Use it" }).click();
    await says(page, "#health", "Ready");
    await connect(page, "50");
    assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
    // What the browser says of 401 is no fault of the page.
    page.faults = page.faults.filter((fault) => !fault.includes("401"));
    await close(page);
  } finally {
    await locked.stop();
  }
});

test("in production a token must be given, and only listed origins get a socket", async () => {
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
    await page.getByRole("button", { name: "Use it" }).click();
    await says(page, "#token-hint", "as the login service gives it");
    await page.getByLabel("Token").fill("x.y.z");
    await page.getByRole("button", { name: "Connect", exact: true }).click();
    await says(page, "#connection-state", "server.allowed_origins");
    page.faults = page.faults.filter((fault) => !/401|403/.test(fault));
    await close(page);
  } finally {
    await strict.stop();
  }
});

test("without an answer the figures are marked stale, and are not once there is one", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "57");
  await says(page, "#health", "Ready");
  await says(page, "#chart-connections .value", /^\d/);
  await page.context().setOffline(true);
  await says(page, "#health", "No answer");
  await says(page, "#notice", /The figures are from \d\d:\d\d:\d\d\./);
  for (const name of ["connections", "deliveries", "latency", "link"]) {
    await says(page, `#chart-${name}.stale .value`, /stale, from \d\d:\d\d:\d\d/);
  }
  assert.match(await page.locator("#chart-link svg").getAttribute("aria-label"), /^Link to the broker: stale, up at /);
  await says(page, "#sessions-count", /^Stale, from \d\d:\d\d:\d\d/);
  await page.context().setOffline(false);
  await says(page, "#health", "Ready");
  await page.locator("figure.stale").first().waitFor({ state: "detached" });
  await says(page, "#sessions-count", "on this replica");
  page.faults = page.faults.filter((fault) => !fault.includes("ERR_INTERNET_DISCONNECTED"));
  await close(page);
});

test("a wrong key is called wrong, and nothing more is asked with it", async () => {
  const locked = await startGateway({ "admin.api_key": KEY });
  try {
    const page = await openConsole(browser, locked);
    const dialog = page.locator("#key-dialog");
    await dialog.getByLabel("Key").fill("another-key");
    assert.equal(await page.locator("#key-wrong").isVisible(), false);
    await dialog.getByRole("button", { name: "Use it" }).click();
    await page.locator("#key-wrong").waitFor();
    await says(page, "#health", "Wrong key");
    await assertAccessible(page, "a wrong key");
    let asked = 0;
    page.on("request", () => asked++);
    await page.waitForTimeout(5_000);
    assert.equal(asked, 0);
    await dialog.getByLabel("Key").fill(KEY);
    await dialog.getByRole("button", { name: "Use it" }).click();
    await says(page, "#health", "Ready");
    page.faults = page.faults.filter((fault) => !fault.includes("401"));
    await close(page);
  } finally {
    await locked.stop();
  }
});

test("the list of sessions follows by itself and keeps the rows that stay", async () => {
  const page = await openConsole(browser, gateway);
  await page.locator("#sessions-form").getByLabel("User", { exact: true }).fill("58");
  await page.locator("#sessions-form").getByRole("button", { name: "Show" }).click();
  await says(page, "#sessions-count", "0 on this replica");
  const other = await openConsole(browser, gateway);
  await connect(other, "58");
  await says(page, "#sessions-count", "1 on this replica");
  await page.evaluate(() => (document.querySelector("#sessions button").marked = true));
  const age = await page.locator("#sessions td.number").first().innerText();
  await page.waitForFunction((age) => document.querySelector("#sessions td.number")?.textContent !== age, age);
  assert.equal(await page.evaluate(() => document.querySelector("#sessions button").marked), true);
  await close(other);
  await says(page, "#sessions-count", "0 on this replica");
  await close(page);
});

test("time in which the page was away is no latency", async () => {
  const page = await openConsole(browser, gateway);
  // The answer to the first beat is held back while the page is away.
  const line = await scriptSocket(page, () => []);
  await connect(page, "59");
  await says(page, "#chart-latency .value", /^\d/);
  await page.evaluate(() => {
    const away = (isAway) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: isAway });
      document.dispatchEvent(new Event("visibilitychange"));
    };
    globalThis.away = away;
  });
  line.isHeld = true;
  await page.waitForTimeout(2_500);
  await page.evaluate(() => globalThis.away(true));
  await page.waitForTimeout(3_000);
  await page.evaluate(() => globalThis.away(false));
  line.isHeld = false;
  line.say({ op: 11, time: 0 });
  await says(page, "#frames", '{"op":11,"time":0}');
  await page.waitForTimeout(4_500);
  const range = await page.locator("#chart-latency svg").getAttribute("aria-label");
  const most = Number(range.match(/and ([\d.]+) ms/)[1]);
  assert.ok(most < 2_000, range);
  await close(page);
});

test("the charts have scales and times, and tell the value under the pointer", async () => {
  const page = await openConsole(browser, gateway);
  await says(page, "#chart-connections .top", /^\d+$/);
  await says(page, "#chart-connections .times", /^\d\d:\d\d:\d\d\d\d:\d\d:\d\d$/);
  await page.locator("#chart-connections svg").hover();
  await says(page, "#chart-connections .hovered", /^\d+ at \d\d:\d\d:\d\d$/);
  await close(page);
});

test("errors look like errors, and only as long as they are current", async () => {
  const page = await openConsole(browser, gateway);
  const color = () => page.locator("#publish-result").evaluate((result) => getComputedStyle(result).color);
  await publish(page, "user:60", "1", false);
  await says(page, "#publish-result", "Published");
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

test("every time of day has the same format", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "61");
  await publish(page, "user:61", '"at"', false);
  await says(page, "#last-message", /user:61, \d\d:\d\d:\d\d\.\d{3} "at"/);
  for (const time of await page.locator("#frames .time").allInnerTexts()) assert.match(time, /^\d\d:\d\d:\d\d\.\d{3}$/);
  await says(page, "#chart-connections .times", /^\d\d:\d\d:\d\d\d\d:\d\d:\d\d$/);
  await close(page);
});
