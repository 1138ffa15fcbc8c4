// A chat in React, in headless Chromium, with a real gateway and a backend that reads its inbox.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { renderToString } from 'react-dom/server';
import WebSocket from 'ws';
import { GatewayClient } from '../dist/index.js';
import { send, signal } from '../dist/messages.js';
import { chat, LAST } from './pages/chat.mjs';
import { executablePath, startBrowser, startPages } from './support/browser.mjs';
import { eventually } from './support/deadline.mjs';
import { FakeSocket } from './support/fake.mjs';
import { startBackend, startChatGateway } from './support/inbox.mjs';
import { FaultProxy } from './support/proxy.mjs';

const ROOM = 'room:7';
const texts = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => `backend: ${from + n}`);

it('renders an empty chat on a server', () => {
  const client = new GatewayClient({ url: 'ws://gateway.test/', token: '42', WebSocket: FakeSocket });
  assert.match(renderToString(chat(client)), /<ol id="messages"><\/ol><ul id="pending"><\/ul><p id="typing"><\/p>/);
});

describe('a chat in Chromium', () => {
  const endings = [];
  let browser, origin, gateway;

  before(async () => {
    assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
    const suite = { after: (end) => endings.unshift(end) };
    origin = await startPages(suite);
    browser = await startBrowser(suite);
  });

  after(async () => {
    for (const end of endings) await end();
  });

  for (const kind of ['its own socket', 'a shared worker']) {
    it(`loads the last messages, sends, shows who types, and survives cuts, with ${kind}`, async (test) => {
      gateway = await startChatGateway(test, { 'server.allowed_origins': origin, 'namespaces.room.history_size': 120 });
      const publish = async (from, to) => {
        for (let n = from; n <= to; n++) await gateway.publish(ROOM, { text: n, from: 'backend' });
      };
      await publish(1, 100);
      startBackend(test, gateway);
      const bob = new GatewayClient({ url: `ws://127.0.0.1:${gateway.public}/`, token: 'bob', WebSocket });
      test.after(() => bob.close());
      const signals = [];
      const bobsRoom = bob.subscribe(ROOM);
      bobsRoom.on('signal', ({ user, signal: value }) => signals.push([user, value.typing]));
      bob.connect();

      const proxy = await FaultProxy.start(test, [gateway.public]);
      const context = await browser.newContext();
      test.after(() => context.close());
      const page = await context.newPage();
      page.on('pageerror', (error) => test.diagnostic(`page error: ${error}`));
      await page.goto(`${origin}/chat.html`);
      await page.evaluate(([url, isShared]) => window.show(url, 'ada', isShared), [proxy.url, kind !== 'its own socket']);
      const list = () => page.locator('#messages li').allTextContents();
      const shows = (what, expected) =>
        eventually(what, async () => JSON.stringify(await list()) === JSON.stringify(expected)).catch(async (error) => {
          assert.deepEqual(await list(), expected, error.message);
        });

      await shows('the last messages', texts(100 - LAST + 1, 100));
      await page.click('#older');
      await shows('earlier messages', texts(11, 100));
      await page.click('#older');
      await shows('all messages', texts(1, 100));
      await eventually('there are no earlier ones', async () => (await page.locator('#older').count()) === 0);

      // Both see each other typing.
      await page.fill('#draft', 'hello');
      await eventually('bob sees ada typing', () => signals.length === 1);
      signal(bob, ROOM, { typing: true });
      await eventually('ada sees bob typing', async () => (await page.textContent('#typing')) === 'bob');
      signal(bob, ROOM, { typing: false });
      await eventually('ada sees that bob stopped', async () => (await page.textContent('#typing')) === '');

      await page.press('#draft', 'Enter');
      await shows('the message of ada', [...texts(1, 100), 'ada: hello']);
      await eventually('nothing is pending', async () => (await page.locator('#pending li').count()) === 0);
      assert.deepEqual(signals.at(-1), ['ada', false]);

      // While the connection is down, a message waits and another one is missed.
      proxy.isDown = true;
      proxy.cutAll();
      await page.fill('#draft', 'after the cut');
      await page.press('#draft', 'Enter');
      await eventually('it is pending', async () => (await page.locator('#pending li').allTextContents())[0] === 'after the cut');
      await send(bob, ROOM, { text: 'missed' });
      await eventually('it is published', () => bobsRoom.state === 'subscribed');
      proxy.isDown = false;
      const both = ['bob: missed', 'ada: after the cut'];
      await shows('both messages once', [...texts(1, 100), 'ada: hello', ...both]);
      await eventually('nothing is pending', async () => (await page.locator('#pending li').count()) === 0);

      // A refused message stays with its error, also when it is tried again.
      await page.fill('#draft', 'x'.repeat(33_000));
      await page.press('#draft', 'Enter');
      const isFailed = async () => (await page.locator('#pending li').allTextContents())[0]?.endsWith(' failed');
      await eventually('it is refused', isFailed);
      await page.click('#pending li');
      await eventually('it is refused again', isFailed);

      // More is missed than the gateway keeps: a fresh view.
      proxy.isDown = true;
      proxy.cutAll();
      await publish(101, 260);
      proxy.isDown = false;
      await shows('a fresh view', texts(260 - LAST + 1, 260));
      assert.equal(await page.textContent('#gap'), `not_recovered ${LAST}`);
      await publish(261, 261);
      await shows('the next message', texts(260 - LAST + 1, 261));
      await page.click('#older');
      await shows('earlier messages of the fresh view', texts(260 - LAST - 39, 261));
    });
  }
});
