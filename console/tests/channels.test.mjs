// Channels in use, in the console, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, launch, openConsole, openSockets, openView, waitForRefreshes, waitForText,
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

async function search(page, beginning = "") {
  await openView(page, "Channels");
  await page.getByLabel("Search or open a channel").fill(beginning);
}

async function openChannel(page, name) {
  await search(page, name);
  await page.getByRole("button", { name: "Open", exact: true }).first().click();
}

const row = (page, table, key) => page.locator(`#${table} tr[data-key="${key}"]`);

test("channels that come and go are marked for a time", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  const leave = await openSockets(other, gateway, ["42", "43"], ["room:7", "public:7"]);
  await search(page, "room:");
  await waitForText(page, "#in-use-status", "1 channel in use");
  await row(page, "in-use", "room:7").filter({ hasText: /^room:7\s*2\s*1\s*Open$/ }).waitFor();
  await openSockets(other, gateway, ["44"], ["room:8"]);
  await row(page, "in-use", "room:8").filter({ hasText: /new at \d\d:\d\d:\d\d/ }).waitFor();
  await leave();
  await row(page, "in-use", "room:7").filter({ hasText: /gone at \d\d:\d\d:\d\d/ }).waitFor();
  await waitForText(page, "#in-use-status", "1 channel in use");
  await assertAccessible(page, "a new and a gone channel");
  await row(page, "in-use", "room:7").waitFor({ state: "detached" });
  await close(other);
  await close(page);
});

test("an open channel shows its members as they come and go", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  await openSockets(other, gateway, ["42"], ["room:9"]);
  const leave = await openSockets(other, gateway, ["43"], ["room:9"]);
  await search(page);
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
  await page.getByRole("button", { name: "Close", exact: true }).click();
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Open room:9");
  await openChannel(page, "room:nobody");
  await waitForText(page, "#channel-status", "no subscribers");
  await waitForText(page, "#members-status", "0 members");
  await close(other);
  await close(page);
});

test("channels are found by the beginning of their name", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  await openSockets(other, gateway, ["42"], ["room:a1", "room:a2", "room:b1", "page:a1"]);
  const names = () => page.locator("#in-use tr td:first-child").allInnerTexts();
  for (const [beginning, found] of [["room:a", ["room:a1", "room:a2"]], ["pa", ["page:a1"]], ["room:a2", ["room:a2"]]]) {
    await search(page, beginning);
    await row(page, "in-use", found[0]).waitFor();
    await waitForText(page, "#in-use-status", new RegExp(`^${found.length} channels? in use$`));
    assert.deepEqual(await names(), found, beginning);
  }
  await search(page, "room:z");
  await waitForText(page, "#in-use-status", "0 channels in use");
  await search(page, "no name");
  await page.getByRole("button", { name: "Open", exact: true }).first().click();
  await waitForText(page, "#in-use-status.bad", "A channel has printable ASCII characters");
  page.faults = page.faults.filter((fault) => !fault.includes("400"));
  await close(other);
  await close(page);
});

test("channels and members are listed by page", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  const numbers = Array.from({ length: 150 }, (_, index) => String(index).padStart(3, "0"));
  await openSockets(other, gateway, ["42"], numbers.map((number) => `page:${number}`));
  await openSockets(other, gateway, numbers, ["page:120"]);
  await search(page, "page:");
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

test("the address opens a channel, a user and a message again", async () => {
  const page = await openConsole(browser, gateway, { address: "#channels/room%3A11" });
  await waitForText(page, "#channel-title", "room:11");
  await page.getByRole("link", { name: "Publish to this channel" }).click();
  await page.getByRole("heading", { name: "Publish", level: 2 }).waitFor();
  assert.equal(await page.locator("#publish-channel").inputValue(), "room:11");
  // The link leads back to the open channel.
  await openView(page, "Channels");
  await waitForText(page, "#channel-status", "no subscribers");
  await page.goto(`${gateway.admin}/console#users/99`);
  await waitForText(page, "#user-status", "away");
  assert.equal(await page.locator("#sessions-user").inputValue(), "99");
  await page.goto(`${gateway.admin}/console#nonsense`);
  assert.equal(await page.title(), "Users · Gateway console");
  await close(page);
});

test("data that is off says what to set, and is not asked for again", async () => {
  const off = await startGateway();
  try {
    const page = await openConsole(browser, off);
    await search(page);
    await waitForText(page, "#in-use-status.warn", "Set presence.enabled = true, and occupancy = true in [namespaces.<name>].");
    await openChannel(page, "room:7");
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
