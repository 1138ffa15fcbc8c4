// Publishing in the console: checks of the message, and the history of what was sent. Frames: filter and pause.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { close, connect, launch, openConsole, openView, publish, waitForText } from "./browser.mjs";
import { startGateway } from "./gateway.mjs";

let browser;
let gateway;
before(async () => {
  [browser, gateway] = await Promise.all([launch(), startGateway()]);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

test("a message is checked while it is typed", async () => {
  const page = await openConsole(browser, gateway, { address: "#publish" });
  const message = page.getByLabel("Message (any JSON)");
  await message.fill('{"a": 5306328986810385677}');
  await waitForText(page, "#publish-check", "Valid JSON, 26 B");
  await page.getByRole("button", { name: "Format" }).click();
  assert.equal(await message.inputValue(), '{\n  "a": 5306328986810385677\n}');
  await message.fill('{"a": ');
  await waitForText(page, "#publish-check.warn", "Not valid JSON");
  await page.getByLabel("Channel", { exact: true }).last().fill("room 7");
  await waitForText(page, "#publish-channel-check", "without spaces");
  await close(page);
});

test("what was sent is listed until the tab closes, and sent again", async () => {
  const page = await openConsole(browser, gateway);
  await connect(page, "70");
  await publish(page, "user:70", '{"number":   1}', true);
  await waitForText(page, "#sent li", /user:70\s*durable[\s\S]*published at .*, received here after/);
  await publish(page, "user:70", '{"number": 2}', false);
  await page.locator("#sent li").nth(1).waitFor();
  await page.reload();
  await page.locator("#sent li").nth(1).waitFor();
  await page.getByRole("button", { name: /^Resend/ }).last().click();
  await waitForText(page, "#publish-result", "Published at");
  assert.match(await page.locator("#sent li").first().innerText(), /durable[\s\S]*"number": +1/);
  await page.getByRole("button", { name: /^Edit/ }).nth(1).click();
  assert.equal(await page.getByLabel("Message (any JSON)").inputValue(), '{"number": 2}');
  await page.getByRole("button", { name: "Clear sent" }).click();
  await page.reload();
  await page.locator("#sent-region.is-empty").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length), 0);
  await close(page);
});

test("frames are filtered and paused", async () => {
  const page = await openConsole(browser, gateway);
  const shown = () => page.locator("#frames li:visible").count();
  await connect(page, "71", "public:news");
  await gateway.post("/v1/publish", { channel: "public:news", message: "one" });
  await waitForText(page, "#frames li", '"one"');
  await page.getByLabel("Filter frames").fill('"OP":3');
  await waitForText(page, "#frames-count", /^1 shown of/);
  assert.equal(await shown(), 1);
  await page.getByLabel("Direction").selectOption("sent");
  await waitForText(page, "#frames-region.is-empty", "");
  await page.getByLabel("Direction").selectOption("");
  await page.getByRole("button", { name: "Pause" }).click();
  await gateway.post("/v1/publish", { channel: "public:news", message: "two" });
  await waitForText(page, "#pause-frames", /Resume \([1-9]\d* new\)/);
  assert.equal(await shown(), 1);
  await page.locator("#pause-frames").click();
  await waitForText(page, "#frames-count", /^2 shown of/);
  assert.match(await page.locator("#frames li:visible").first().innerText(), /"two"/);
  await openView(page, "Overview");
  await close(page);
});
