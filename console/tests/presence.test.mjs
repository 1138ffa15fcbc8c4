// Presence in the console, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, connect, launch, openConsole, openView, waitForRefreshes, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([
    launch(), startGateway({ "presence.enabled": "true", "presence.grace": "1s" }),
  ]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

async function watch(page, users) {
  await openView(page, "Users");
  await page.getByLabel("Users to watch").fill(users);
  await page.getByRole("button", { name: "Watch", exact: true }).click();
}

const row = (page, user) => page.locator(`#presence tr[data-key="${user}"]`);

test("watched users change as they come and leave", async () => {
  const page = await openConsole(browser, gateway);
  await watch(page, "70, 71 72");
  await waitForText(page, "#presence-status", "0 of 3 users online");
  assert.match(await row(page, "70").innerText(), /^70\s+away\s+0\s+Remove$/);
  const other = await openConsole(browser, gateway);
  await connect(other, "70");
  await row(page, "70").filter({ hasText: /online\s*1\s*came online at \d\d:\d\d:\d\d/ }).waitFor();
  await waitForText(page, "#presence-status", "1 of 3 users online");
  await waitForText(page, "#presence-changes li", /^70 came online at/);
  await assertAccessible(page, "watched users");
  await close(other);
  await row(page, "70").filter({ hasText: /away\s*0\s*went away at/ }).waitFor();
  await waitForText(page, "#presence-changes li:first-child", /^70 went away at/);
  await page.getByRole("button", { name: "Remove 71" }).click();
  await waitForText(page, "#presence-status", "0 of 2 users online");
  await row(page, "71").waitFor({ state: "detached" });
  await page.locator("#presence-clear").click();
  await page.locator("#presence-watched").waitFor({ state: "hidden" });
  await close(page);
});

test("without watched users, nothing is asked", async () => {
  const page = await openConsole(browser, gateway);
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/v1/presence") && asked.push(request.url()));
  await watch(page, "74");
  await waitForText(page, "#presence-status", "0 of 1 user online");
  await page.getByRole("button", { name: "Remove 74" }).click();
  await page.locator("#presence-watched").waitFor({ state: "hidden" });
  asked.length = 0;
  await waitForRefreshes(page);
  assert.deepEqual(asked, []);
  await close(page);
});

test("a user that cannot exist is refused, and others stay watched", async () => {
  const page = await openConsole(browser, gateway);
  await watch(page, "75");
  await waitForText(page, "#presence-status", "0 of 1 user online");
  await watch(page, "a{b");
  await waitForText(page, "#presence-status.bad", "the user id is not valid");
  assert.equal(await page.locator("#presence tr").count(), 1);
  await page.locator("#presence-status:not(.bad)").waitFor();
  page.faults = page.faults.filter((fault) => !fault.includes("400"));
  await close(page);
});

test("presence is marked as stale while the gateway does not answer", async () => {
  const page = await openConsole(browser, gateway);
  await watch(page, "76");
  await waitForText(page, "#presence-status", "0 of 1 user online");
  await page.context().setOffline(true);
  await waitForText(page, "#presence-status.warn", /^Stale, as of \d\d:\d\d:\d\d$/);
  await page.locator("#presence-region.stale").waitFor();
  await page.context().setOffline(false);
  await waitForText(page, "#presence-status", "0 of 1 user online");
  await page.locator("#presence-region:not(.stale)").waitFor();
  page.faults = page.faults.filter((fault) => !/Failed to load resource|ERR_INTERNET_DISCONNECTED/.test(fault));
  await close(page);
});

test("presence that is off says what to set", async () => {
  const off = await startGateway();
  try {
    const page = await openConsole(browser, off);
    await watch(page, "77");
    await waitForText(page, "#presence-status.warn", "Presence is off. Set presence.enabled = true on every replica.");
    await assertAccessible(page, "presence is off");
    page.faults = page.faults.filter((fault) => !fault.includes("409"));
    await close(page);
  } finally {
    await off.stop();
  }
});
