// The charts of the console in Chromium, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  close, connect, launch, openConsole, openView, publish, scriptSocket, waitForFrame, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

test("the charts show current values and a lost link", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "49");
  await openView(page, "Overview");
  for (let number = 0; number < 20; number++) await gateway.post("/v1/publish", { channel: "user:49", message: number });
  const label = (name) => page.locator(`#chart-${name} svg`).getAttribute("aria-label");
  await page.waitForFunction(() => / between 0\.0 and (?!0\.0)/.test(document.querySelector("#chart-deliveries svg").getAttribute("aria-label")));
  await waitForText(page, "#chart-latency .value", /^\d+(\.\d)? ms/);
  assert.match(await label("latency"), /^Round trip of this console: [\d.]+ ms/);
  assert.match(await label("link"), /^Link to the broker: up memory/);
  for (const name of ["connections", "deliveries", "latency", "link"]) {
    assert.match(await page.locator(`#chart-${name} .curve`).getAttribute("d"), /^M[\d.]+ [\d.]+h/, name);
  }
  await close(page);
  // No server listens on port 1.
  const notReady = await startGateway({ "broker.url": "redis://127.0.0.1:1" });
  try {
    const other = await openConsole(browser, notReady);
    await waitForText(other, "#chart-link .value", "down redis");
    await waitForText(other, "#health", "Not ready");
    await waitForText(other, "#notice", "redis: cannot connect");
    assert.match(await other.locator("#chart-link svg").getAttribute("aria-label"), /^Link to the broker: down/);
    // The list of sessions needs Redis.
    other.faults = other.faults.filter((fault) => !fault.includes("503"));
    await close(other);
  } finally {
    await notReady.stop();
  }
});

test("figures are marked as stale while the gateway does not answer", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "57");
  await openView(page, "Users");
  await waitForText(page, "#sessions-status", "session");
  await openView(page, "Overview");
  await waitForText(page, "#health", "Ready");
  await waitForText(page, "#chart-connections .value", /^\d/);
  await page.context().setOffline(true);
  await waitForText(page, "#health", "No answer");
  await waitForText(page, "#notice", /The figures are as of \d\d:\d\d:\d\d\./);
  for (const name of ["connections", "deliveries", "latency", "link"]) {
    await waitForText(page, `#chart-${name}.stale .value`, /stale, as of \d\d:\d\d:\d\d/);
  }
  assert.match(await page.locator("#chart-link svg").getAttribute("aria-label"), /^Link to the broker: stale, up at /);
  await openView(page, "Users");
  await waitForText(page, "#sessions-status", /^Stale, as of \d\d:\d\d:\d\d/);
  await openView(page, "Overview");
  await page.context().setOffline(false);
  await waitForText(page, "#health", "Ready");
  await page.locator("figure.stale").first().waitFor({ state: "detached" });
  await openView(page, "Users");
  await waitForText(page, "#sessions-status", "session");
  page.faults = page.faults.filter((fault) => !fault.includes("ERR_INTERNET_DISCONNECTED"));
  await close(page);
});

test("time in the background does not count as latency", async () => {
  const page = await openConsole(browser, gateway);
  // The answer to the first heartbeat is withheld while the page is in the background.
  const server = await scriptSocket(page, () => []);
  await connect(page, "59");
  await openView(page, "Overview");
  await waitForText(page, "#chart-latency .value", /^\d/);
  await page.evaluate(() => {
    const setHidden = (isHidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: isHidden });
      document.dispatchEvent(new Event("visibilitychange"));
    };
    globalThis.setHidden = setHidden;
  });
  server.isHeld = true;
  await page.waitForTimeout(2_500);
  await page.evaluate(() => globalThis.setHidden(true));
  await page.waitForTimeout(3_000);
  await page.evaluate(() => globalThis.setHidden(false));
  server.isHeld = false;
  server.send({ op: 11, time: 0 });
  await page.locator("#frames").getByText('{"op":11,"time":0}').waitFor({ state: "attached" });
  await page.waitForTimeout(4_500);
  const range = await page.locator("#chart-latency svg").getAttribute("aria-label");
  const most = Number(range.match(/and ([\d.]+) ms/)[1]);
  assert.ok(most < 2_000, range);
  await close(page);
});

test("charts have scales, times and the value at the pointer", async () => {
  const page = await openConsole(browser, gateway);
  await waitForText(page, "#chart-connections .top", /^\d+$/);
  await waitForText(page, "#chart-connections .times", /^\d\d:\d\d:\d\d\d\d:\d\d:\d\d$/);
  await page.locator("#chart-connections svg").hover();
  await waitForText(page, "#chart-connections .hovered", /^\d+ at \d\d:\d\d:\d\d$/);
  await close(page);
});

test("every time of day has the same format", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "61");
  await publish(page, "user:61", '"at"', false);
  await waitForText(page, "#sent .time", /^\d\d:\d\d:\d\d$/);
  await waitForFrame(page, '"message":"at"');
  for (const time of await page.locator("#frames .time").allInnerTexts()) assert.match(time, /^\d\d:\d\d:\d\d\.\d{3}$/);
  await openView(page, "Overview");
  await waitForText(page, "#chart-connections .times", /^\d\d:\d\d:\d\d\d\d:\d\d:\d\d$/);
  await close(page);
});
