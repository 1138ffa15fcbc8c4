// Chromium as it is installed, and pages that must keep to their policy and to the rules of accessibility.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { SOON } from "./gateway.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const PLACES = [
  "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/snap/bin/chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

export function launch() {
  const executablePath = [process.env.CHROMIUM, ...PLACES].find((path) => path && existsSync(path));
  assert.ok(executablePath, "there is no Chromium: install it (scripts/setup chromium), or name one in CHROMIUM");
  // The tests show it pages of our own only; as root it has no sandbox.
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

// A page on which nothing may be said to be wrong: no error, and no breach of the policy.
export async function openConsole(browser, gateway, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(SOON);
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.faults.push(message.text()));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(`${gateway.admin}/console`);
  return page;
}

export async function close(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

// axe's rules, among them those of WCAG 2.2 A and AA.
export async function assertAccessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(found, [], what);
}

// Waits until an element has this text.
export async function says(page, selector, text) {
  await page.locator(selector).filter({ hasText: text }).first().waitFor();
}

export async function connect(page, user, channels = "") {
  await page.locator("#connect-form").getByLabel("User", { exact: true }).fill(user);
  await page.getByLabel("Channels besides its own").fill(channels);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await says(page, "#connection-state", `Connected as ${user}`);
}

export async function publish(page, channel, message, durable) {
  await page.getByLabel("Channel", { exact: true }).fill(channel);
  await page.getByLabel("Message (any JSON)").fill(message);
  await page.getByLabel("Durable: kept").setChecked(durable);
  await page.getByRole("button", { name: "Publish" }).click();
}

// Replaces the gateway's socket by one that says what a test tells it. `stands` makes Ready's channels of Identify's.
export async function scriptSocket(page, stands) {
  const line = { asked: [], say: () => {} };
  await page.routeWebSocket(/\?v=2$/, (socket) => {
    line.say = (frame) => socket.send(JSON.stringify(frame));
    socket.onMessage((text) => {
      const { op, time, channels, token } = JSON.parse(text);
      if (op === 1) {
        line.asked = channels;
        line.say({ op: 2, user: token, session: "00", channels: stands(channels) });
      }
      if (op === 10 && !line.isHeld) line.say({ op: 11, time });
    });
    line.say({ op: 0, heartbeat_interval: 45_000, v: 2, session: "00" });
  });
  // Only a page that is loaded after this has the replacement.
  await page.reload();
  return line;
}
