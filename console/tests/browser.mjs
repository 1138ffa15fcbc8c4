// Starts the installed Chromium, and opens pages that are checked for errors, policy violations and accessibility.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { SOON } from "./gateway.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const CHROMIUM_PATHS = [
  "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

// Where the pictures of the documentation are, if SCREENSHOTS is set.
export const images = process.env.SCREENSHOTS && join(dirname(fileURLToPath(import.meta.url)), "..", "..", "docs", "images");
if (images) mkdirSync(images, { recursive: true });

// Takes a picture of a page or of a part of it, if SCREENSHOTS is set.
export const picture = (part, name, options) => images && part.screenshot({ path: join(images, `${name}.png`), ...options });

export function launch() {
  const executablePath = [process.env.CHROMIUM, ...CHROMIUM_PATHS].find((path) => path && existsSync(path));
  assert.ok(executablePath, "Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path");
  // The tests open only pages of the gateway; Chromium has no sandbox as root.
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

// Opens the console, or `address` in it, and records errors and policy violations, which `close` rejects.
export async function openConsole(browser, gateway, options = {}) {
  const { address = "", ...settings } = options;
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, reducedMotion: "reduce", ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(SOON);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${gateway.admin}/console${address}`);
  return page;
}

export async function close(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

// Checks the rules of axe, which include WCAG 2.2 A and AA.
export async function assertAccessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(found, [], what);
}

// Waits until an element contains this text.
export async function waitForText(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

// Waits until the page has refreshed its status several times, which it does every two seconds. Other requests with that
// interval would have been sent meanwhile.
export async function waitForRefreshes(page) {
  for (let count = 0; count < 3; count++) await page.waitForResponse((response) => response.url().endsWith("/v1/status"));
}

// Opens a view by its link.
export async function openView(page, name) {
  const link = page.getByRole("link", { name, exact: true });
  if (await link.getAttribute("aria-current")) return;
  await link.click();
  await page.getByRole("heading", { name, level: 2, exact: true }).waitFor();
}

// Waits until the list of frames has one with this text.
export async function waitForFrame(page, text) {
  await openView(page, "Live");
  await waitForText(page, "#frames li", text);
}

export async function connect(page, user, channels = "") {
  await openView(page, "Live");
  await page.locator("#connect-form").getByLabel("User", { exact: true }).fill(user);
  await page.getByLabel("Additional channels").fill(channels);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await waitForText(page, "#connection-state", `Connected as ${user}`);
}

export async function publish(page, channel, message, durable) {
  await openView(page, "Publish");
  await page.locator("#publish-form").getByLabel("Channel", { exact: true }).fill(channel);
  await page.getByLabel("Message (any JSON)").fill(message);
  await page.getByLabel("Durable: stored").setChecked(durable);
  await page.getByRole("button", { name: "Publish", exact: true }).click();
}

// Opens a socket of the page's own for each of the users, and subscribes it to the channels. Returns a function that
// closes the sockets.
export async function openSockets(page, gateway, users, channels) {
  const tokens = await Promise.all(users.map(async (user) => (await gateway.post("/v1/token", { user, channels: gateway.isInsecure ? [] : channels })).token));
  const sockets = await page.evaluateHandle(async ([tokens, names]) => {
    const { socket_url: url } = await (await fetch("v1/status")).json();
    const channels = names.map((channel) => ({ channel }));
    return Promise.all(tokens.map((token) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`${url}?v=2`);
      socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
      socket.onmessage = ({ data }) => {
        const { op } = JSON.parse(data);
        if (op === 0) socket.send(JSON.stringify({ op: 1, token, channels }));
        if (op === 2) resolve(socket);
      };
    })));
  }, [tokens, channels]);
  return () => sockets.evaluate((all) => all.forEach((socket) => socket.close()));
}

// Replaces the gateway's socket by a scripted one. `ready` maps the channels of Identify to those of Ready.
export async function scriptSocket(page, ready) {
  const server = { requested: [], send: () => {} };
  await page.routeWebSocket(/\?v=2$/, (socket) => {
    server.send = (frame) => socket.send(JSON.stringify(frame));
    socket.onMessage((text) => {
      const { op, time, channels, token } = JSON.parse(text);
      if (op === 1) {
        server.requested = channels;
        server.send({ op: 2, user: token, session: "00", channels: ready(channels) });
      }
      if (op === 10 && !server.isHeld) server.send({ op: 11, time });
    });
    server.send({ op: 0, heartbeat_interval: 45_000, v: 2, session: "00" });
  });
  // The replacement applies to pages that are loaded from now on.
  await page.reload();
  return server;
}
