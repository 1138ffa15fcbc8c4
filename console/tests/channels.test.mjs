// Channels in use, in the console, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, images, launch, openConsole, openSockets, picture, waitForRefreshes, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const ROOMS = {
  "presence.enabled": "true", "presence.grace": "1s", "channels.public_namespaces": "public,room,page",
  "namespaces.room.presence": "members", "namespaces.room.occupancy": "true",
  "namespaces.page.presence": "members", "namespaces.page.occupancy": "true",
};

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway(ROOMS)]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

async function list(page, namespace = "") {
  await page.getByLabel("Namespace").fill(namespace);
  await page.getByRole("button", { name: "List", exact: true }).click();
}

const row = (page, table, key) => page.locator(`#${table} tr[data-key="${key}"]`);

test("channels that come and go are marked for a time", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  const leave = await openSockets(other, gateway, ["42", "43"], ["room:7", "public:7"]);
  await list(page, "room");
  await waitForText(page, "#in-use-status", "1 channel in use");
  await row(page, "in-use", "room:7").filter({ hasText: /^room:7\s*2\s*1\s*Open$/ }).waitFor();
  await openSockets(other, gateway, ["44"], ["room:8"]);
  await row(page, "in-use", "room:8").filter({ hasText: /new at \d\d:\d\d:\d\d/ }).waitFor();
  await leave();
  await row(page, "in-use", "room:7").filter({ hasText: /gone at \d\d:\d\d:\d\d/ }).waitFor();
  await waitForText(page, "#in-use-status", "1 channel in use");
  await assertAccessible(page, "a new and a gone channel");
  await row(page, "in-use", "room:7").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Close list" }).click();
  await page.locator("#in-use-list").waitFor({ state: "hidden" });
  await close(other);
  await close(page);
});

test("an open channel shows its members as they come and go", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  await openSockets(other, gateway, ["42"], ["room:9"]);
  const leave = await openSockets(other, gateway, ["43"], ["room:9"]);
  await list(page);
  await page.getByRole("button", { name: "Open room:9" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "channel-title");
  await waitForText(page, "#channel-status", "2 subscribed, on 1 replica");
  await waitForText(page, "#members-status", "2 members");
  await leave();
  await openSockets(other, gateway, ["44"], ["room:9"]);
  await row(page, "members", "43").filter({ hasText: "gone at" }).waitFor();
  await row(page, "members", "44").filter({ hasText: "new at" }).waitFor();
  await assertAccessible(page, "an open channel");
  await page.getByRole("button", { name: "Disconnect all of this channel" }).click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect", exact: true }).click();
  await waitForText(page, "#channel-outcome", "2 sessions affected");
  await row(page, "members", "42").filter({ hasText: "gone at" }).waitFor();
  await page.getByRole("button", { name: "Close channel" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Open room:9");
  await page.getByLabel("Name of a channel").fill("room:nobody");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await waitForText(page, "#channel-status", "no subscribers");
  await waitForText(page, "#members-status", "0 members");
  await close(other);
  await close(page);
});

test("channels and members are listed by page", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  const numbers = Array.from({ length: 150 }, (_, index) => String(index).padStart(3, "0"));
  await openSockets(other, gateway, ["42"], numbers.map((number) => `page:${number}`));
  await openSockets(other, gateway, numbers, ["page:120"]);
  await list(page, "page");
  await waitForText(page, "#in-use-status", "100 channels in use on this page, page 1");
  await page.getByRole("button", { name: "Next page of channels" }).click();
  await waitForText(page, "#in-use-status", "50 channels in use on this page, page 2");
  assert.equal(await page.locator("#in-use tr").first().getAttribute("data-key"), "page:100");
  await page.getByRole("button", { name: "Open page:120" }).click();
  await waitForText(page, "#members-status", "151 members, page 1");
  // A member that only moves to the next page is not marked.
  await openSockets(other, gateway, ["0505"], ["page:120"]);
  await row(page, "members", "0505").filter({ hasText: "new at" }).waitFor();
  await row(page, "members", "099").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Next page of members" }).click();
  await waitForText(page, "#members-status", "152 members, page 2");
  assert.equal(await page.locator("#members tr.new").count(), 0);
  await page.getByRole("button", { name: "Previous page of channels" }).click();
  await waitForText(page, "#in-use-status", "page 1");
  await close(other);
  await close(page);
});

test("the picture of the documentation is taken", { skip: !images }, async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  await openSockets(other, gateway, ["42", "43", "44"], ["room:7", "room:8"]);
  await openSockets(other, gateway, ["42", "50"], ["room:lobby"]);
  await page.getByLabel("Users to watch").fill("42 45 46");
  await page.getByRole("button", { name: "Watch" }).click();
  await waitForText(page, "#presence-status", "1 of 3 users online");
  await list(page, "room");
  await page.getByRole("button", { name: "Open room:7" }).click();
  await waitForText(page, "#members-status", "3 members");
  const leave = await openSockets(other, gateway, ["45"], ["room:7"]);
  await waitForText(page, "#members tr.new", "45");
  await waitForText(page, "#presence-changes", "45 came online");
  await page.locator("#control-target").fill("50");
  await page.getByRole("button", { name: "Send…" }).click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect", exact: true }).click();
  await waitForText(page, "#control-outcome", "1 session affected");
  const [top, bottom] = await page.evaluate(() => {
    const box = (id) => document.getElementById(id).closest("section").getBoundingClientRect();
    return [box("presence-title").top + scrollY, box("in-use-region").bottom + scrollY];
  });
  await picture(page, "console-presence", { fullPage: true, clip: { x: 0, y: top - 8, width: 1200, height: bottom - top + 16 } });
  await leave();
  await close(other);
  await close(page);
});

test("data that is off says what to set, and is not asked for again", async () => {
  const off = await startGateway();
  try {
    const page = await openConsole(browser, off);
    await list(page);
    await waitForText(page, "#in-use-status.warn", "Set presence.enabled = true, and occupancy = true in [namespaces.<name>].");
    await page.getByLabel("Name of a channel").fill("room:7");
    await page.getByRole("button", { name: "Open", exact: true }).click();
    await waitForText(page, "#channel-status.warn", "The use of this channel is not recorded.");
    await waitForText(page, "#members-status.warn", 'presence = "members" in [namespaces.room].');
    await assertAccessible(page, "rooms are off");
    let requests = 0;
    page.on("request", (request) => (requests += Number(request.url().includes("/v1/channels"))));
    await waitForRefreshes(page);
    assert.equal(requests, 0);
    page.faults = page.faults.filter((fault) => !fault.includes("409"));
    await close(page);
  } finally {
    await off.stop();
  }
});
