// Takes the pictures of the documentation, of a deployment of three replicas, if SCREENSHOTS is set.

import { after, before, test } from "node:test";
import {
  close, connect, images, launch, openConsole, openSockets, openView, picture, publish, waitForFrame, waitForText,
} from "./browser.mjs";
import { startGateway, startRedis } from "./gateway.mjs";

const SETTINGS = {
  "presence.enabled": "true", "channels.public_namespaces": "public,room,desk", "namespaces.room.presence": "members",
  "namespaces.room.occupancy": "true", "namespaces.room.send": "true", "namespaces.desk.presence": "count",
  "namespaces.desk.occupancy": "true", "namespaces.room.signals": "true", "session.heartbeat_interval": "10m",
};
const PHONE = { width: 390, height: 844 };
// The end of the names of the pictures, the views, and the settings of the page.
const SCREENS = [
  ["", ["overview", "channels", "users", "live", "publish", "inbox"], {}],
  ["-dark", ["overview", "live"], { colorScheme: "dark" }],
  ["-phone", ["overview", "channels", "live"], { viewport: PHONE }],
  ["-phone-dark", ["users", "publish"], { viewport: PHONE, colorScheme: "dark" }],
];
const ORDER = {
  type: "order.updated", order: { id: "A-20771", state: "shipped", total: 129.5, express: true, coupon: null },
  lines: [{ sku: "lamp-03", count: 2 }, { sku: "bulb-e27", count: 6 }],
};

let browser;
let redis;
let replicas = [];
before(async () => {
  if (!images) return;
  [browser, redis] = await Promise.all([launch(), startRedis()]);
  replicas = await Promise.all([1, 2, 3].map(() => startGateway({ ...SETTINGS, "broker.url": redis.url })));
});
after(async () => {
  await browser?.close();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await redis?.stop();
});

// Users in several channels on all replicas, messages in them, and messages for the backend.
async function populate() {
  const page = await openConsole(browser, replicas[0]);
  for (const [index, replica] of replicas.entries()) {
    const other = await openConsole(browser, replica);
    const users = Array.from({ length: 9 + 4 * index }, (_, number) => String(1000 + 97 * number + index));
    await openSockets(other, replica, users.slice(0, 6), ["room:lobby", "room:support"]);
    await openSockets(other, replica, users.slice(6), ["room:lobby", `desk:${index + 1}`, "room:news-en"]);
    await openSockets(other, replica, ["42"], ["room:7", "room:lobby"]);
  }
  for (let number = 1; number <= 8; number++) {
    const message = { ...ORDER, order: { ...ORDER.order, id: `A-207${60 + number}` } };
    await replicas[0].post("/v1/publish", { channel: "room:support", durable: true, message });
  }
  await connect(page, "1194", "room:support");
  await page.getByLabel("To the channel").fill("room:support");
  for (const text of ["Where is my parcel?", "It says delivered, but the door was closed.", "Thanks!"]) {
    await page.getByLabel("Content, as JSON").fill(JSON.stringify({ text }));
    await page.getByRole("button", { name: "Send to backend" }).click();
    await waitForText(page, "#connection-state", "The inbox has the message.");
  }
  return page;
}

// Messages for all replicas, until the charts have a curve.
async function fillCharts(page) {
  for (let number = 0; number < 100; number++) {
    const count = 2 + Math.round(2 + 2 * Math.sin(number / 4));
    for (let more = 0; more < count; more++) await replicas[0].post("/v1/publish", { channel: "room:lobby", message: number });
    await page.waitForTimeout(500);
  }
}

async function takeViews(page, suffix, wanted) {
  const take = (name) => wanted.includes(name) && picture(page, `console-${name}${suffix}`);
  await openView(page, "Overview");
  await waitForText(page, "#summary-title", "All 3 replicas are ready");
  await page.waitForFunction(() => /\d/.test(document.querySelector("#total-deliveries").textContent));
  await take("overview");
  await openView(page, "Channels");
  await page.getByRole("button", { name: "Open room:support" }).click();
  await page.getByRole("tab", { name: "History" }).click();
  await page.locator("#history summary").first().click();
  await page.locator("#history .json").waitFor();
  await take("channels");
  await openView(page, "Users");
  await page.locator("#sessions-form").getByLabel("User", { exact: true }).fill("42");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await waitForText(page, "#user-status", "online, on 3 replicas");
  await waitForText(page, "#sessions-status", "3 sessions");
  await take("users");
  await publish(page, "room:support", JSON.stringify(ORDER), true);
  await waitForText(page, "#publish-result", "Received here");
  await page.getByRole("button", { name: "Format" }).click();
  await publish(page, "room:support", '{"text": "Your parcel is on its way"}', false);
  await waitForText(page, "#sent li", "Your parcel");
  await page.locator("#sent summary").last().click();
  await page.locator("#sent .json").waitFor();
  await take("publish");
  await waitForFrame(page, "Your parcel");
  await page.locator("#frames summary").filter({ hasText: "A-20771" }).first().click();
  await page.locator("#frames .json").waitFor();
  await take("live");
  await openView(page, "Inbox");
  await page.locator("#inbox summary").first().click();
  await page.locator("#inbox .json").waitFor();
  await take("inbox");
}

test("the pictures of the documentation are taken", { skip: !images }, async () => {
  const source = await populate();
  const pages = [];
  for (const [suffix, wanted, options] of SCREENS) {
    const page = await openConsole(browser, replicas[0], { viewport: { width: 1360, height: 900 }, ...options });
    await connect(page, "1000", "room:support");
    await openView(page, "Overview");
    pages.push([page, suffix, wanted]);
  }
  await fillCharts(source);
  for (const [page, suffix, wanted] of pages) {
    await page.bringToFront();
    await takeViews(page, suffix, wanted);
    await close(page);
  }
});
