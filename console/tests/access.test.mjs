// The console is accessible: on a phone, in dark mode, by keyboard, and for screen readers as far as axe can check.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertAccessible, close, connect, launch, openConsole, publish, waitForText } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const DESKTOP = { width: 1200, height: 900 };
const PHONE = { width: 360, height: 740 };
const ROOMS = {
  "presence.enabled": "true", "namespaces.room.presence": "members", "namespaces.room.occupancy": "true",
  "channels.public_namespaces": "public,room", "namespaces.room.send": "true",
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

// Checks that a view fits the screen and is accessible.
async function assertUsable(page, what) {
  const [width, visible] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width <= visible, `${what}: ${width} px wide on a screen of ${visible} px`);
  await assertAccessible(page, what);
}

const button = (page, name) => page.getByRole("button", { name, exact: true });

// Checks each view of a user that connects and is disconnected at the end.
async function viewsOfASession(page, user) {
  await waitForText(page, "#health", "Ready");
  await assertUsable(page, "before connecting");
  await connect(page, user, "public:news");
  await publish(page, "public:news", JSON.stringify({ text: "x".repeat(300) }), true);
  await waitForText(page, "#last-message", "xxx");
  await waitForText(page, "#sessions tr", user);
  await assertUsable(page, "a message, frames and sessions");
  await page.getByLabel("Hide heartbeats").uncheck();
  await waitForText(page, "#frames li", '{"op":10');
  await assertUsable(page, "with heartbeats");
  await page.getByLabel("Subscribe to").fill("private:7");
  await button(page, "Subscribe").click();
  await waitForText(page, "#connection-state", "refused (not_allowed)");
  await publish(page, "public:news", "{", false);
  await waitForText(page, "#publish-result", "The message is not valid JSON");
  await assertUsable(page, "two errors");
  await button(page, "Cut connection").click();
  await waitForText(page, "#connection-state", "The connection is cut");
  await assertUsable(page, "cut");
  await button(page, "Reconnect").click();
  await waitForText(page, "#channel-list", "recovered: true");
  await assertUsable(page, "recovered");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill(user);
  await button(page, "Disconnect this user").click();
  await assertUsable(page, "confirming");
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await waitForText(page, "#connection-state", "Closed: 4010");
  await waitForText(page, "#sessions-status", "0 sessions");
  await assertUsable(page, "disconnected");
}

// Checks each view of the parts that show and control all replicas.
async function viewsOfADeployment(page, user) {
  const room = `room:${user}-${"x".repeat(100)}`;
  await connect(page, user, room);
  await page.getByLabel("Users to watch").fill(`${user} ${"x".repeat(100)}`);
  await button(page, "Watch").click();
  await waitForText(page, "#presence-status", "1 of 2 users online");
  await page.getByLabel("Namespace").fill("room");
  await button(page, "List").click();
  await waitForText(page, "#in-use tr", room);
  await assertUsable(page, "presence, and channels in use");
  await button(page, `Open ${room}`).click();
  await waitForText(page, "#channel-status", "1 subscribed, on 1 replica");
  await waitForText(page, "#members tr", user);
  await assertUsable(page, "an open channel");
  const long = JSON.stringify({ text: "x".repeat(300) });
  await publish(page, room, long, true);
  await button(page, "History").click();
  await waitForText(page, "#history tr", "xxx");
  await page.getByLabel("To the channel").fill(room);
  await page.getByLabel("Content (any JSON)").fill(long);
  await button(page, "Send to the backend").click();
  await button(page, "Messages from clients").click();
  await waitForText(page, "#inbox tr", user);
  await assertUsable(page, "a history and the inbox");
  await page.locator("#control-target").fill(user);
  await button(page, "Send…").click();
  await assertUsable(page, "confirming a command");
  await page.locator("#confirm-button").click();
  await waitForText(page, "#connection-state", "Closed: 4010");
  await waitForText(page, "#control-outcome", "1 session affected");
  await waitForText(page, "#members tr.gone", user);
  await page.locator("#control-target").fill("x".repeat(200));
  await button(page, "Send…").click();
  await page.locator("#confirm-reason").fill("x".repeat(123));
  await page.locator("#confirm-button").click();
  await waitForText(page, "#control-outcome", "0 sessions affected");
  await waitForText(page, "#presence-changes li", `${user} went away`);
  await assertUsable(page, "after a command");
}

// Checks each view without the key, and of a gateway that is not ready.
async function viewsOfTrouble(page, key) {
  const dialog = page.locator("#key-dialog");
  await dialog.getByLabel("Key").waitFor();
  await waitForText(page, "#health", "Key required");
  await assertUsable(page, "the key dialog");
  await page.keyboard.press("Escape");
  await assertUsable(page, "without the key");
  await button(page, "Key…").click();
  await dialog.getByLabel("Key").fill(key);
  await button(page, "Use key").click();
  await waitForText(page, "#health", "Not ready");
  await waitForText(page, "#chart-link .value", "down");
  // Without Redis, the replica lists its own sessions.
  await waitForText(page, "#sessions-status.warn", "1 replica did not answer");
  await assertUsable(page, "not ready");
  await page.context().setOffline(true);
  await waitForText(page, "#health", "No answer");
  await assertUsable(page, "no answer");
  await page.context().setOffline(false);
  await waitForText(page, "#health", "Not ready");
  page.faults = page.faults.filter((fault) => !/401|503|ERR_INTERNET_DISCONNECTED/.test(fault));
}

describe("every view is accessible and fits the screen", { concurrency: 2 }, () => {
  for (const [screen, viewport] of [["a desktop", DESKTOP], ["a phone", PHONE]]) {
    for (const colorScheme of ["light", "dark"]) {
      test(`on ${screen}, ${colorScheme}`, async () => {
        const page = await openConsole(browser, gateway, { viewport, colorScheme });
        const user = `${screen} ${colorScheme}`.replaceAll(" ", "-");
        await viewsOfASession(page, user);
        await close(page);
        const operator = await openConsole(browser, gateway, { viewport, colorScheme });
        await viewsOfADeployment(operator, user);
        await close(operator);
        // No server listens on port 1.
        const notReady = await startGateway({ "admin.api_key": "the-key-of-the-admin-api", "broker.url": "redis://127.0.0.1:1" });
        try {
          const other = await openConsole(browser, notReady, { viewport, colorScheme });
          await viewsOfTrouble(other, "the-key-of-the-admin-api");
          await close(other);
        } finally {
          await notReady.stop();
        }
      });
    }
  }
});

// Presses Tab until the element with this id or name has the focus, and checks that each focus is visible.
async function tabTo(page, wanted) {
  for (let step = 0; step < 90; step++) {
    await page.keyboard.press("Tab");
    const { names, outline, isBody } = await page.evaluate(() => {
      const { activeElement: focused } = document;
      return { names: [focused.id, focused.getAttribute("aria-label"), focused.textContent], outline: getComputedStyle(focused).outlineStyle, isBody: focused === document.body };
    });
    if (!isBody) assert.notEqual(outline, "none", `the focus is not visible on ${names}`);
    if (names.some((name) => name === wanted || (wanted instanceof RegExp && wanted.test(name ?? "")))) return;
  }
  assert.fail(`${wanted} cannot be reached with Tab`);
}

test("every action can be done by keyboard", async () => {
  const page = await openConsole(browser, gateway);
  const { keyboard } = page;
  const type = async (id, text) => {
    await tabTo(page, id);
    await keyboard.press("Control+a");
    await keyboard.type(text);
  };
  await waitForText(page, "#health", "Ready");
  // Skip the header of the page.
  await keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await keyboard.press("Enter");
  await type("user", "48");
  await tabTo(page, "connect");
  await keyboard.press("Enter");
  await waitForText(page, "#connection-state", "Connected as 48");
  await type("subscribe-channel", "room:48");
  await keyboard.press("Enter");
  await waitForText(page, "#channel-list", "room:48");
  await type("subscribe-channel", "public:news");
  await keyboard.press("Enter");
  await waitForText(page, "#channel-list", "public:news");
  await type("send-channel", "room:48");
  await tabTo(page, "send");
  await keyboard.press("Enter");
  await waitForText(page, "#connection-state", "The inbox has the message.");
  await type("publish-channel", "public:news");
  await type("publish-message", '"by keyboard"');
  await tabTo(page, "publish-durable");
  await keyboard.press("Space");
  await tabTo(page, "Publish");
  await keyboard.press("Enter");
  await waitForText(page, "#last-message", '"by keyboard"');
  // All scrollable regions can be focused.
  await tabTo(page, "Frames, newest first");
  await type("presence-users", "48 49");
  await keyboard.press("Enter");
  await waitForText(page, "#presence-status", "1 of 2 users online");
  await tabTo(page, "Watched users");
  await tabTo(page, "Remove 49");
  await keyboard.press("Enter");
  await waitForText(page, "#presence-status", "1 of 1 user online");
  // The row is removed, and the focus moves to the table.
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Watched users");
  await tabTo(page, "Changes, newest first");
  await tabTo(page, "control-command");
  await keyboard.press("End");
  await waitForText(page, "#control-label", "Token id (jti)");
  await type("control-target", "no-such-token");
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Enter");
  await waitForText(page, "#control-outcome", "0 sessions affected");
  await type("in-use-namespace", "room");
  await keyboard.press("Enter");
  await tabTo(page, "Open room:48");
  await keyboard.press("Enter");
  await waitForText(page, "#members tr", "48");
  await tabTo(page, "Members");
  await tabTo(page, "history-toggle");
  await keyboard.press("Enter");
  await waitForText(page, "#history-status", "0 messages");
  await tabTo(page, "channel-close");
  await keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Open room:48");
  await tabTo(page, "inbox-toggle");
  await keyboard.press("Enter");
  await waitForText(page, "#inbox tr", "room:48");
  await tabTo(page, "Inbox, oldest first");
  await type("sessions-user", "48");
  await keyboard.press("Enter");
  await waitForText(page, "#sessions-status", "1 session");
  await tabTo(page, "List of sessions");
  const session = await page.locator("#sessions tr").getAttribute("data-key");
  // After the last element, Tab continues at the top of the page.
  await tabTo(page, "cut");
  await keyboard.press("Space");
  await waitForText(page, "#connection-state", "The connection is cut");
  await tabTo(page, "connect");
  await keyboard.press("Enter");
  await waitForText(page, "#connection-state", "all durable messages recovered");
  await tabTo(page, /^Unsubscribe from public:news$/);
  await keyboard.press("Enter");
  await waitForText(page, "#connection-state", "public:news: unsubscribed");
  await page.locator(`#sessions tr[data-key="${session}"]`).waitFor({ state: "detached" });
  await waitForText(page, "#sessions-status", "1 session");
  // After a cancelled confirmation, the focus returns to the same button.
  await tabTo(page, /^Disconnect session .* of 48$/);
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Escape");
  await page.locator("#confirm-dialog").waitFor({ state: "hidden" });
  assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^Disconnect session/);
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Enter");
  await waitForText(page, "#connection-state", "Closed: 4010");
  // The row is removed, and the focus moves to the table.
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "List of sessions");
  await close(page);
});
