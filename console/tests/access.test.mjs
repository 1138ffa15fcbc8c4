// Everybody can use the console: on a phone, in the dark, by keyboard, with a screen reader (as far as axe can tell).

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { assertAccessible, close, connect, launch, openConsole, publish, says } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

const DESK = { width: 1200, height: 900 };
const PHONE = { width: 360, height: 740 };

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

// What a view must be, whatever it shows.
async function assertGood(page, what) {
  const [width, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width <= seen, `${what}: ${width} px wide on a screen of ${seen}`);
  await assertAccessible(page, what);
}

const button = (page, name) => page.getByRole("button", { name, exact: true });

// Each view of somebody who connects, and who is disconnected in the end.
async function viewsOfASession(page, user) {
  await says(page, "#health", "Ready");
  await assertGood(page, "nothing yet");
  await connect(page, user, "public:news");
  await publish(page, "public:news", JSON.stringify({ text: "x".repeat(300) }), true);
  await says(page, "#last-message", "xxx");
  await says(page, "#sessions tr", user);
  await assertGood(page, "a message, frames and sessions");
  await page.getByLabel("Hide heartbeats").uncheck();
  await says(page, "#frames li", '{"op":10');
  await assertGood(page, "with heartbeats");
  await page.getByLabel("Subscribe to").fill("room:7");
  await button(page, "Subscribe").click();
  await says(page, "#connection-state", "refused (not_allowed)");
  await publish(page, "public:news", "{", false);
  await says(page, "#publish-result", "The message is not JSON");
  await assertGood(page, "two refusals");
  await button(page, "Cut the line").click();
  await says(page, "#connection-state", "The line is cut");
  await assertGood(page, "cut");
  await button(page, "Come back").click();
  await says(page, "#channel-list", "recovered: true");
  await assertGood(page, "recovered");
  const form = page.locator("#sessions-form");
  await form.getByLabel("User", { exact: true }).fill(user);
  await button(page, "Disconnect this user").click();
  await assertGood(page, "asking");
  await page.locator("#confirm-dialog").getByRole("button", { name: "Disconnect" }).click();
  await says(page, "#connection-state", "Closed: 4010");
  await says(page, "#sessions-count", "0 on this replica");
  await assertGood(page, "disconnected");
}

// Each view of somebody who has not the key, and of a gateway that is not well.
async function viewsOfTrouble(page, key) {
  const dialog = page.locator("#key-dialog");
  await dialog.getByLabel("Key").waitFor();
  await says(page, "#health", "Key needed");
  await assertGood(page, "the key is asked for");
  await page.keyboard.press("Escape");
  await assertGood(page, "without the key");
  await button(page, "Key…").click();
  await dialog.getByLabel("Key").fill(key);
  await button(page, "Use it").click();
  await says(page, "#health", "Not ready");
  await says(page, "#chart-link .value", "down");
  await assertGood(page, "not ready");
  await page.context().setOffline(true);
  await says(page, "#health", "No answer");
  await assertGood(page, "no answer");
  await page.context().setOffline(false);
  await says(page, "#health", "Not ready");
  page.faults = page.faults.filter((fault) => !/401|ERR_INTERNET_DISCONNECTED/.test(fault));
}

describe("every view is accessible and whole", { concurrency: 2 }, () => {
  for (const [screen, viewport] of [["a desk", DESK], ["a phone", PHONE]]) {
    for (const colorScheme of ["light", "dark"]) {
      test(`on ${screen}, ${colorScheme}`, async () => {
        const page = await openConsole(browser, gateway, { viewport, colorScheme });
        await viewsOfASession(page, `${screen} ${colorScheme}`.replaceAll(" ", "-"));
        await close(page);
        // Nobody listens there.
        const ill = await startGateway({ "admin.api_key": "the-key-of-the-admin-api", "broker.url": "redis://127.0.0.1:1" });
        try {
          const other = await openConsole(browser, ill, { viewport, colorScheme });
          await viewsOfTrouble(other, "the-key-of-the-admin-api");
          await close(other);
        } finally {
          await ill.stop();
        }
      });
    }
  }
});

// Goes on with Tab until the element of this id, or with this name, has the focus, which must be seen there.
async function tabTo(page, wanted) {
  for (let step = 0; step < 60; step++) {
    await page.keyboard.press("Tab");
    const { names, outline, isBody } = await page.evaluate(() => {
      const { activeElement: at } = document;
      return { names: [at.id, at.getAttribute("aria-label"), at.textContent], outline: getComputedStyle(at).outlineStyle, isBody: at === document.body };
    });
    if (!isBody) assert.notEqual(outline, "none", `no focus is seen on ${names}`);
    if (names.some((name) => name === wanted || (wanted instanceof RegExp && wanted.test(name ?? "")))) return;
  }
  assert.fail(`${wanted} is not reached`);
}

test("everything can be done with the keyboard alone", async () => {
  const page = await openConsole(browser, gateway);
  const { keyboard } = page;
  const type = async (id, text) => {
    await tabTo(page, id);
    await keyboard.press("Control+a");
    await keyboard.type(text);
  };
  await says(page, "#health", "Ready");
  // Past the head of the page.
  await keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await keyboard.press("Enter");
  await type("user", "48");
  await tabTo(page, "connect");
  await keyboard.press("Enter");
  await says(page, "#connection-state", "Connected as 48");
  await type("subscribe-channel", "public:news");
  await keyboard.press("Enter");
  await says(page, "#channel-list", "public:news");
  await type("publish-channel", "public:news");
  await type("publish-message", '"by keyboard"');
  await tabTo(page, "publish-durable");
  await keyboard.press("Space");
  await tabTo(page, "Publish");
  await keyboard.press("Enter");
  await says(page, "#last-message", '"by keyboard"');
  // Both tables can be scrolled.
  await tabTo(page, "Frames, the latest first");
  await type("sessions-user", "48");
  await keyboard.press("Enter");
  await says(page, "#sessions-count", "1 on this replica");
  await tabTo(page, "List of sessions");
  const session = await page.locator("#sessions code").getAttribute("title");
  // The way on goes round.
  await tabTo(page, "cut");
  await keyboard.press("Space");
  await says(page, "#connection-state", "The line is cut");
  await tabTo(page, "connect");
  await keyboard.press("Enter");
  await says(page, "#connection-state", "everything durable was recovered");
  await tabTo(page, /^Leave public:news$/);
  await keyboard.press("Enter");
  await says(page, "#connection-state", "public:news: unsubscribed");
  await page.locator(`#sessions code[title="${session}"]`).waitFor({ state: "detached" });
  await says(page, "#sessions-count", "1 on this replica");
  // What is asked before something ends can be declined, which leads back to where one was.
  await tabTo(page, /^Disconnect session .* of 48$/);
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Escape");
  await page.locator("#confirm-dialog").waitFor({ state: "hidden" });
  assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^Disconnect session/);
  await keyboard.press("Enter");
  await page.locator("#confirm-dialog[open]").waitFor();
  await keyboard.press("Enter");
  await says(page, "#connection-state", "Closed: 4010");
  // The row is gone, and whoever was there is still in the table.
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "List of sessions");
  await close(page);
});
