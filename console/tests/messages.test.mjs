// Messages of clients, signals and histories, in the console, with a real gateway.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  assertAccessible, close, connect, launch, openConsole, openView, waitForText,
} from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const ROOMS = {
  "channels.public_namespaces": "public,room", "namespaces.room.send": "true", "namespaces.room.signals": "true",
};
// JSON.parse would round this number.
const LARGE = '{"id": 5306328986810385677}';

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway(ROOMS)]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

const button = (page, name) => page.getByRole("button", { name, exact: true });

async function enter(page, channel, json) {
  await page.getByLabel("To the channel").fill(channel);
  await page.getByLabel("Content, as JSON").fill(json);
}

test("a sent message is acknowledged, and the inbox lists it", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "42", "room:7");
  await enter(page, "room:7", "{");
  await button(page, "Send to backend").click();
  await waitForText(page, "#connection-state.bad", "The message is not valid JSON");
  await enter(page, "public:7", "1");
  await button(page, "Send to backend").click();
  await waitForText(page, "#frames li", '"code":"not_allowed"');
  await enter(page, "room:7", LARGE);
  await button(page, "Send to backend").click();
  await waitForText(page, "#connection-state", "The inbox has the message.");
  await openView(page, "Inbox");
  await waitForText(page, "#inbox-status", /^1 message$/);
  await page.locator("#inbox li").filter({ hasText: /\d s\s*42\s*room:7\s*\{"id":5306328986810385677\}/ }).waitFor();
  await page.locator("#inbox summary").click();
  await waitForText(page, "#inbox .json", '"id": 5306328986810385677');
  await assertAccessible(page, "the inbox");
  await fetch(`${gateway.admin}/v1/inbox?through=99999999999999-0`, { method: "DELETE" });
  await waitForText(page, "#inbox-status", "0 messages");
  await close(page);
});

test("a signal is shown to the other sessions of the channel", async () => {
  const [page, other] = [await openConsole(browser, gateway), await openConsole(browser, gateway)];
  await connect(page, "42", "room:8");
  await connect(other, "43", "room:8");
  await enter(page, "room:8", '{"typing": true}');
  await button(page, "Signal to others").click();
  await waitForText(other, "#frames li", '{"op":18,"channel":"room:8","user":"42","signal":{"typing": true}}');
  assert.equal(await page.locator("#frames li.received").filter({ hasText: "Signal" }).count(), 0);
  await close(other);
  await close(page);
});

test("an open channel shows its history, the newest messages first", async () => {
  for (let number = 1; number <= 150; number++) {
    await gateway.post("/v1/publish", { channel: "room:9", durable: true, message: number });
  }
  const page = await openConsole(browser, gateway);
  await openView(page, "Channels");
  await page.getByLabel("Search or open a channel").fill("room:9");
  await button(page, "Open").click();
  await page.getByRole("tab", { name: "History" }).click();
  await waitForText(page, "#history-status", "100 messages on this page, page 1");
  assert.match(await page.locator("#history li").first().innerText(), /-150\s+150$/);
  await assertAccessible(page, "a history");
  await page.getByRole("button", { name: "Older page of history" }).click();
  await waitForText(page, "#history-status", "50 messages on this page, page 2");
  assert.match(await page.locator("#history li").last().innerText(), /-1\s+1$/);
  await page.getByRole("button", { name: "Newer page of history" }).click();
  await waitForText(page, "#history-status", "page 1");
  await gateway.post("/v1/publish", { channel: "room:9", durable: true, message: "new" });
  await waitForText(page, "#history li", '"new"');
  // Another channel has a history of its own.
  await page.getByLabel("Search or open a channel").fill("room:10");
  await button(page, "Open").click();
  assert.equal(await page.locator("#history li").count(), 0);
  await page.getByRole("tab", { name: "History" }).click();
  await waitForText(page, "#history-status", "0 messages");
  page.faults = page.faults.filter((fault) => !fault.includes("409"));
  await close(page);
});
