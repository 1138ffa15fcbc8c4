// The console is accessible: on a phone, in dark mode, by keyboard, and for screen readers as far as axe can check.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  assertAccessible, close, connect, launch, openConsole, openView, publish, waitForFrame, waitForText,
} from "./browser.mjs";
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
  await waitForText(page, "#summary-title", "The replica is ready");
  for (const view of ["Overview", "Channels", "Users", "Live", "Publish", "Inbox"]) {
    await openView(page, view);
    await assertUsable(page, view);
  }
  await connect(page, user, "public:news");
  await publish(page, "public:news", JSON.stringify({ text: "x".repeat(300) }), true);
  await waitForText(page, "#sent .preview", "xxx");
  await page.locator("#sent summary").click();
  await assertUsable(page, "a message that was sent");
  await openView(page, "Users");
  await waitForText(page, "#sessions tr", user);
  await assertUsable(page, "sessions");
  await waitForFrame(page, "xxx");
  await page.locator("#frames summary").filter({ hasText: "xxx" }).first().click();
  await assertUsable(page, "frames");
  await page.getByLabel("Hide heartbeats").uncheck();
  await waitForText(page, "#frames li", '{"op":10');
  await assertUsable(page, "with heartbeats");
  await page.getByLabel("Subscribe to").fill("private:7");
  await button(page, "Subscribe").click();
  await waitForText(page, "#connection-state", "refused (not_allowed)");
  await publish(page, "public:news", "{", false);
  await waitForText(page, "#publish-result", "The message is not valid JSON");
  await assertUsable(page, "an invalid message");
  await openView(page, "Live");
  await button(page, "Cut connection").click();
  await waitForText(page, "#connection-state", "The connection is cut");
  await assertUsable(page, "cut");
  await button(page, "Reconnect").click();
  await waitForText(page, "#channel-list", "recovered: true");
  await assertUsable(page, "recovered");
  await openView(page, "Users");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill(user);
  await button(page, "Disconnect this user").click();
  await assertUsable(page, "confirming");
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await waitForText(page, "#sessions-status", "0 sessions");
  await waitForText(page, "#socket-state", "Not connected");
  await assertUsable(page, "disconnected");
}

// Checks each view of the parts that show and control all replicas.
async function viewsOfADeployment(page, user) {
  const room = `room:${user}-${"x".repeat(100)}`;
  await connect(page, user, room);
  await openView(page, "Users");
  await page.getByLabel("Users to watch").fill(`${user} ${"x".repeat(100)}`);
  await button(page, "Watch").click();
  await waitForText(page, "#presence-status", "1 of 2 users online");
  await assertUsable(page, "presence");
  await openView(page, "Channels");
  await waitForText(page, "#in-use tr", room);
  await assertUsable(page, "channels in use");
  await button(page, `Open ${room}`).click();
  await waitForText(page, "#channel-status", "1 subscribed, on 1 replica");
  await waitForText(page, "#members tr", user);
  await assertUsable(page, "an open channel");
  const long = JSON.stringify({ text: "x".repeat(300) });
  await publish(page, room, long, true);
  await openView(page, "Channels");
  await page.getByRole("tab", { name: "History" }).click();
  await page.locator("#history summary").filter({ hasText: "xxx" }).click();
  await waitForText(page, "#history .json", "xxx");
  await assertUsable(page, "a history");
  await openView(page, "Live");
  await page.getByLabel("To the channel").fill(room);
  await page.getByLabel("Content, as JSON").fill(long);
  await button(page, "Send to backend").click();
  await openView(page, "Inbox");
  await page.locator("#inbox summary").filter({ hasText: user }).first().click();
  await assertUsable(page, "the inbox");
  await openView(page, "Users");
  await page.locator("#control-target").fill(user);
  await button(page, "Send…").click();
  await assertUsable(page, "confirming a command");
  await page.locator("#confirm-button").click();
  await waitForText(page, "#control-outcome", "1 session affected");
  await waitForText(page, "#socket-state", "Not connected");
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
  await waitForText(page, "#summary-title", "This replica is cut off from Redis");
  await assertUsable(page, "the overview of a replica that is not ready");
  // Without Redis, the replica lists its own sessions.
  await openView(page, "Users");
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

// The id or the label of the element with the focus.
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute("aria-label"));

// Opens a view with its key, and checks that the keyboard continues in it.
async function pressView(page, key, name) {
  await page.keyboard.press(key);
  await page.getByRole("heading", { name, level: 2, exact: true }).waitFor();
  assert.equal(await focused(page), `${name.toLowerCase()}-title`);
}

// Goes to a field with Tab, and replaces its text.
async function type(page, id, text) {
  await tabTo(page, id);
  await page.keyboard.press("Control+a");
  await page.keyboard.type(text);
}

async function pressOn(page, wanted, key = "Enter") {
  await tabTo(page, wanted);
  await page.keyboard.press(key);
}

// Connects, subscribes, sends, publishes, reads the frames, and reconnects.
async function clientByKeyboard(page) {
  const { keyboard } = page;
  await pressView(page, "4", "Live");
  await type(page, "user", "48");
  await pressOn(page, "connect");
  await waitForText(page, "#connection-state", "Connected as 48");
  for (const channel of ["room:48", "public:news"]) {
    await type(page, "subscribe-channel", channel);
    await keyboard.press("Enter");
    await waitForText(page, "#channel-list", channel);
  }
  await type(page, "send-channel", "room:48");
  await pressOn(page, "send");
  await waitForText(page, "#connection-state", "The inbox has the message.");
  await tabTo(page, "help-button");
  await keyboard.press("n");
  assert.equal(await focused(page), "publish-message");
  await keyboard.press("Control+a");
  await keyboard.type('"by keyboard"');
  await type(page, "publish-channel", "public:news");
  await pressOn(page, "publish-durable", "Space");
  await pressOn(page, "Publish");
  await waitForText(page, "#publish-result", "Received here after");
  await pressOn(page, /^Resend the message of .* to public:news$/);
  await page.locator("#sent li").nth(1).waitFor();
  await tabTo(page, "sent-region");
  await pressView(page, "4", "Live");
  await keyboard.press("/");
  assert.equal(await focused(page), "frames-text");
  await keyboard.type("by keyboard");
  await waitForText(page, "#frames-count", /^2 shown/);
  await tabTo(page, "frames-region");
  await keyboard.press("Tab");
  await keyboard.press("Enter");
  await waitForText(page, "#frames .json", '"message": "by keyboard"');
  await pressOn(page, "cut", "Space");
  await waitForText(page, "#connection-state", "The connection is cut");
  await pressOn(page, "connect");
  await waitForText(page, "#connection-state", "all durable messages recovered");
  await pressOn(page, /^Unsubscribe from public:news$/);
  await waitForText(page, "#connection-state", "public:news: unsubscribed");
}

// Watches a user, opens a channel and its history, reads the inbox, and sends a command.
async function deploymentByKeyboard(page) {
  const { keyboard } = page;
  await tabTo(page, "help-button");
  await pressView(page, "3", "Users");
  await type(page, "presence-users", "48 49");
  await keyboard.press("Enter");
  await waitForText(page, "#presence-status", "1 of 2 users online");
  await tabTo(page, "Watched users");
  await pressOn(page, "Remove 49");
  await waitForText(page, "#presence-status", "1 of 1 user online");
  // The row is removed, and the focus moves to the table.
  assert.equal(await focused(page), "presence-region");
  await tabTo(page, "Changes, newest first");
  await pressOn(page, "control-command", "End");
  await waitForText(page, "#control-label", "Token id (jti)");
  await type(page, "control-target", "no-such-token");
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Enter");
  await waitForText(page, "#control-outcome", "0 sessions affected");
  await tabTo(page, "help-button");
  await pressView(page, "2", "Channels");
  await keyboard.press("/");
  await keyboard.type("room:4");
  await pressOn(page, "Open room:48");
  await waitForText(page, "#members tr", "48");
  assert.equal(await focused(page), "channel-title");
  await pressOn(page, "tab-members", "ArrowRight");
  await waitForText(page, "#history-status", "0 messages");
  await keyboard.press("Escape");
  assert.equal(await focused(page), "Open room:48");
  await pressView(page, "6", "Inbox");
  await waitForText(page, "#inbox li", "room:48");
  await tabTo(page, "inbox-region");
}

test("every action can be done by keyboard", async () => {
  const page = await openConsole(browser, gateway);
  const { keyboard } = page;
  await waitForText(page, "#health", "Ready");
  // Skip the header of the page.
  await keyboard.press("Tab");
  assert.equal(await focused(page), "skip");
  await keyboard.press("Enter");
  assert.equal(await focused(page), "overview-title");
  await tabTo(page, "replicas-region");
  await clientByKeyboard(page);
  await deploymentByKeyboard(page);
  await pressView(page, "3", "Users");
  await type(page, "sessions-user", "48");
  await keyboard.press("Enter");
  await waitForText(page, "#sessions-status", "1 session");
  await tabTo(page, "sessions-region");
  // After a cancelled confirmation, the focus returns to the same button.
  await pressOn(page, /^Disconnect session .* of 48$/);
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Escape");
  await page.locator("#confirm-dialog").waitFor({ state: "hidden" });
  assert.match(await focused(page), /^Disconnect session/);
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Enter");
  await waitForText(page, "#socket-state", "Not connected");
  // The row is removed, and the focus moves to the table.
  await page.waitForFunction(() => document.activeElement.id === "sessions-region");
  await close(page);
});

test("shortcuts are listed, and single keys can be turned off", async () => {
  const page = await openConsole(browser, gateway);
  const { keyboard } = page;
  await keyboard.press("?");
  const dialog = page.getByRole("dialog", { name: "Keyboard shortcuts" });
  await dialog.waitFor();
  assert.equal(await dialog.locator("dt").count(), 12);
  await assertUsable(page, "the shortcuts");
  // A key in a dialog or in a field is no shortcut.
  await keyboard.press("2");
  await dialog.getByLabel("Single keys are shortcuts").uncheck();
  await keyboard.press("Escape");
  await keyboard.press("5");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await button(page, "Shortcuts").click();
  await dialog.getByLabel("Single keys are shortcuts").check();
  await keyboard.press("Escape");
  await pressView(page, "3", "Users");
  await page.getByLabel("User", { exact: true }).first().fill("");
  await keyboard.type("42");
  assert.equal(await page.locator("#sessions-user").inputValue(), "42");
  await close(page);
});
