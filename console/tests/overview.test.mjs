// The overview of a deployment: two replicas with one Redis.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, close, launch, openConsole, openSockets, waitForText } from "./browser.mjs";
import { startGateway, startRedis } from "./gateway.mjs";

let browser;
let redis;
let replicas = [];
before(async () => {
  [browser, redis] = await Promise.all([launch(), startRedis()]);
  const settings = { "presence.enabled": "true", "broker.url": redis.url };
  replicas = await Promise.all([startGateway(settings), startGateway(settings)]);
});
after(async () => {
  await browser?.close();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await redis?.stop();
});

// How much of the screen has moved without an input since the page was loaded.
const layoutShift = (page) => page.evaluate(() => new Promise((resolve) => {
  const sum = (entries) => entries.filter((entry) => !entry.hadRecentInput).reduce((total, { value }) => total + value, 0);
  new PerformanceObserver((list) => resolve(sum(list.getEntries()))).observe({ type: "layout-shift", buffered: true });
  // Without a shift, the observer is not called.
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => resolve(0))));
}));

for (const [screen, viewport] of [["a desktop", { width: 1200, height: 900 }], ["a phone", { width: 360, height: 740 }]]) {
  test(`little moves while the overview loads on ${screen}`, async () => {
    const page = await openConsole(browser, replicas[0], { viewport });
    await waitForText(page, "#summary-title", /ready/);
    await waitForText(page, "#own-replica", "up");
    const moved = await layoutShift(page);
    // The limit of "good" in Web Vitals.
    assert.ok(moved < 0.1, String(moved));
    await close(page);
  });
}

test("all replicas are listed, and a killed one does not answer", async () => {
  const page = await openConsole(browser, replicas[0]);
  await waitForText(page, "#summary-title", "All 2 replicas are ready");
  const other = await openConsole(browser, replicas[1]);
  await openSockets(page, replicas[0], ["42"], []);
  await openSockets(other, replicas[1], ["42", "43"], []);
  await waitForText(page, "#total-sessions", /^3$/);

  await page.locator("#replicas tr").filter({ hasText: /ready\s*2\s*2\s*3/ }).waitFor();
  await assertAccessible(page, "two replicas");
  await replicas[1].stop();
  await waitForText(page, "#summary-title", "1 of 2 replicas is ready");
  await waitForText(page, "#replicas .dot.bad", "no answer");
  await waitForText(page, "#replicas-status.bad", "1 replica did not answer");
  await assertAccessible(page, "a missing replica");
  replicas.splice(1);
  await close(page);
});
