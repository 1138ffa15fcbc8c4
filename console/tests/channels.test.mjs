// Channels in use, in the console.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAccessible, close, launch, openConsole, waitForRefreshes, waitForText } from "./browser.mjs";
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

// Answers for rooms as the gateway does. `rooms` has the members of each channel.
async function stubRooms(page, rooms) {
  const pageOf = (all, { after = "", limit }) => {
    const rest = all.sort().filter((key) => key > after);
    const shown = rest.slice(0, Number(limit));
    return { shown, next: rest.length > shown.length ? shown.at(-1) : null };
  };
  const describe = (channel) => ({ channel, replicas: 1, count: rooms.get(channel)?.length ?? 0 });
  await stub(page, "/v1/channels", ({ query }) => {
    const names = [...rooms.keys()].filter((name) => !query.namespace || name.startsWith(`${query.namespace}:`));
    const { shown, next } = pageOf(names, query);
    return { channels: shown.map(describe), next };
  });
  await page.route(/\/v1\/channels\/[^/?]+(\/members)?(\?|$)/, (route) => {
    const url = new URL(route.request().url());
    const [, channel, members] = url.pathname.match(/channels\/([^/]+)(\/members)?/);
    const name = decodeURIComponent(channel);
    const { shown, next } = pageOf([...(rooms.get(name) ?? [])], Object.fromEntries(url.searchParams));
    const { count } = describe(name);
    const answer = members ? { channel: name, count, members: shown, next } : { ...describe(name), occupied: rooms.has(name) };
    return route.fulfill({ json: answer }).catch(() => {});
  });
}

async function list(page, namespace = "") {
  await page.getByLabel("Namespace").fill(namespace);
  await page.getByRole("button", { name: "List", exact: true }).click();
}

const row = (page, table, key) => page.locator(`#${table} tr[data-key="${key}"]`);

test("channels that come and go are marked for a time", async () => {
  const page = await openConsole(browser, gateway);
  const rooms = new Map([["room:7", ["42", "43"]], ["other:1", ["9"]]]);
  await stubRooms(page, rooms);
  await list(page, "room");
  await waitForText(page, "#in-use-status", "1 channel in use");
  assert.match(await row(page, "in-use", "room:7").innerText(), /^room:7\s+2\s+1\s+Open$/);
  rooms.set("room:8", ["44"]);
  await row(page, "in-use", "room:8").filter({ hasText: /new at \d\d:\d\d:\d\d/ }).waitFor();
  rooms.delete("room:7");
  await row(page, "in-use", "room:7").filter({ hasText: /gone at \d\d:\d\d:\d\d/ }).waitFor();
  await waitForText(page, "#in-use-status", "1 channel in use");
  await assertAccessible(page, "a new and a gone channel");
  await row(page, "in-use", "room:7").waitFor({ state: "detached" });
  await close(page);
});

test("an open channel shows its members as they come and go", async () => {
  const page = await openConsole(browser, gateway);
  const rooms = new Map([["room:7", ["42", "43"]]]);
  await stubRooms(page, rooms);
  await list(page);
  await page.getByRole("button", { name: "Open room:7" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), "channel-title");
  await waitForText(page, "#channel-status", "2 subscribed, on 1 replica");
  await waitForText(page, "#members-status", "2 members");
  rooms.set("room:7", ["42", "44"]);
  await row(page, "members", "43").filter({ hasText: "gone at" }).waitFor();
  await row(page, "members", "44").filter({ hasText: "new at" }).waitFor();
  await assertAccessible(page, "an open channel");
  const requests = await stub(page, "/v1/control", () => ({ id: "1-0", replicas: { "a-1": 2 }, missing: [] }));
  await page.getByRole("button", { name: "Disconnect all of this channel" }).click();
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect", exact: true }).click();
  await waitForText(page, "#channel-outcome", "2 sessions affected");
  assert.deepEqual(requests[0].body, { disconnect: { channel: "room:7" } });
  await page.getByRole("button", { name: "Close channel" }).click();
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Open room:7");
  await page.getByLabel("Name of a channel").fill("room:9");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await waitForText(page, "#channel-status", "no subscribers");
  await close(page);
});

test("channels and members are listed by page", async () => {
  const page = await openConsole(browser, gateway);
  const number = (index) => String(index).padStart(3, "0");
  const rooms = new Map(Array.from({ length: 150 }, (_, index) => [`room:${number(index)}`, ["42"]]));
  rooms.set("room:120", Array.from({ length: 150 }, (_, index) => number(index)));
  await stubRooms(page, rooms);
  await list(page);
  await waitForText(page, "#in-use-status", "100 channels in use on this page, page 1");
  await page.getByRole("button", { name: "Next page of channels" }).click();
  await waitForText(page, "#in-use-status", "50 channels in use on this page, page 2");
  assert.equal(await page.locator("#in-use tr").first().getAttribute("data-key"), "room:100");
  await page.getByRole("button", { name: "Open room:120" }).click();
  await waitForText(page, "#members-status", "150 members, page 1");
  // A member that only moves to the next page is not marked.
  rooms.get("room:120").push("0505");
  await row(page, "members", "0505").filter({ hasText: "new at" }).waitFor();
  await row(page, "members", "099").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Next page of members" }).click();
  await waitForText(page, "#members-status", "151 members, page 2");
  assert.equal(await page.locator("#members tr.new").count(), 0);
  await page.getByRole("button", { name: "Previous page of channels" }).click();
  await waitForText(page, "#in-use-status", "page 1");
  await close(page);
});

test("rooms that are off say what to set", async () => {
  const page = await openConsole(browser, gateway);
  const off = () => failure(409, "presence_disabled", "presence is off");
  for (const path of ["", "/room%3A7", "/room%3A7/members"]) await stub(page, `/v1/channels${path}`, off);
  await list(page);
  await waitForText(page, "#in-use-status.warn", "Set presence.enabled = true, and occupancy = true in [namespaces.<name>].");
  await page.getByLabel("Name of a channel").fill("room:7");
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await waitForText(page, "#channel-status.warn", 'occupancy = true, or presence = "count" or "members".');
  await waitForText(page, "#members-status.warn", 'presence = "members".');
  await assertAccessible(page, "rooms are off");
  let requests = 0;
  page.on("request", (request) => (requests += Number(request.url().includes("/v1/channels"))));
  await waitForRefreshes(page);
  assert.equal(requests, 0);
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});
