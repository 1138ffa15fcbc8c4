// The React hooks for presence, in headless Chromium and rendered by a server.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { renderToString } from 'react-dom/server';
import { GatewayClient } from '../dist/index.js';
import { people } from './pages/people.mjs';
import { executablePath, startBrowser, startPages } from './support/browser.mjs';
import { eventually } from './support/deadline.mjs';
import { FakeSocket, ready, start } from './support/fake.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { enter, startPresence, urlOf } from './support/real-presence.mjs';
import { startScripted } from './support/scripted.mjs';
import { FakeGateway } from '../dist/testing.js';

const ROOM = 'room:7';
/** Members come in two pages at least. */
const startPeople = (test) => startScripted(test, new FakeGateway({ rooms: [ROOM], membersPerPage: 2 }));
/** The number of channels that were subscribed, also by Identify, and unsubscribed. */
const seen = ({ frames }) => {
  const count = (...ops) => frames.filter(({ op }) => ops.includes(op)).reduce((sum, { channels }) => sum + channels.length, 0);
  return { subscribe: count(1, 4), unsubscribe: count(5) };
};
const NOTHING = 'unknown; ada unknown, bob unknown; no count []';

it('renders nothing known on a server, and sends no request', async () => {
  const world = start();
  world.client.connect();
  await ready(world);
  const html = renderToString(people(world.client));
  assert.ok(html.includes(NOTHING), html);
  assert.equal(world.socket.ops(4).length, 0);
  world.client.close();
});

describe('in Chromium', () => {
  const endings = [];
  let browser, origin, renderedOrigin;

  before(async () => {
    assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
    const suite = { after: (end) => endings.unshift(end) };
    const server = new GatewayClient({ url: 'ws://gateway.test/', token: '42', WebSocket: FakeSocket });
    origin = await startPages(suite);
    renderedOrigin = await startPages(suite, { rendered: renderToString(people(server)) });
    browser = await startBrowser(suite);
  });

  after(async () => {
    for (const end of endings) await end();
  });

  async function visit(test, from = origin) {
    const context = await browser.newContext();
    test.after(() => context.close());
    const page = await context.newPage();
    page.on('pageerror', (error) => test.diagnostic(`page error: ${error}`));
    await page.goto(`${from}/presence.html`);
    page.shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#people')) === text);
    page.connect = (gateway) => page.evaluate((url) => window.connect(url), gateway.url);
    page.show = () => page.evaluate(() => window.show());
    return page;
  }

  it('shows users and a room in strict mode, over edges and cuts', async (test) => {
    const gateway = await startPeople(test);
    gateway.setOnline('ada', true);
    for (const user of ['c', 'a', 'b']) gateway.join(ROOM, user);
    const page = await visit(test);
    await page.connect(gateway);
    await page.show();
    await page.shows('online; ada online, bob away; 3 [a b c] complete');
    gateway.setOnline('bob', true);
    gateway.setOnline('ada', false);
    gateway.join(ROOM, 'd');
    gateway.leave(ROOM, 'a');
    await page.shows('away; ada away, bob online; 3 [b c d] complete');
    gateway.isDown = true;
    gateway.cut();
    gateway.setOnline('ada', true);
    gateway.join(ROOM, 'a');
    gateway.isDown = false;
    await page.shows('online; ada online, bob online; 4 [a b c d] complete');
    gateway.join(ROOM, 'e');
    await page.shows('online; ada online, bob online; 5 []');
  });

  it('shows users and a room of a real gateway, over edges and cuts', async (test) => {
    const gateway = await startPresence(test, { 'server.allowed_origins': origin });
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    await page.connect(proxy);
    await page.show();
    await page.shows('away; ada away, bob away; 1 [42] complete');
    const url = urlOf(gateway);
    const ada = await enter(test, url, 'ada', 'room:7');
    await page.shows('online; ada online, bob away; 2 [42 ada] complete');
    await enter(test, url, 'bob', 'room:7');
    ada.close();
    await page.shows('away; ada away, bob online; 2 [42 bob] complete');
    proxy.isDown = true;
    proxy.cutAll();
    for (const user of ['ada', 'eve']) await enter(test, url, user, 'room:7');
    proxy.isDown = false;
    await page.shows('online; ada online, bob online; 4 [42 ada bob eve] complete');
    await enter(test, url, 'zoe', 'room:7');
    await page.shows('online; ada online, bob online; 5 []');
  });

  it('keeps the other subscriptions when the users change', async (test) => {
    const gateway = await startPeople(test);
    gateway.setOnline('bob', true);
    const page = await visit(test);
    await page.connect(gateway);
    await page.show();
    await page.shows('away; ada away, bob online; 0 [] complete');
    const before = seen(gateway);
    await page.evaluate(() => window.followUsers(['eve', 'bob']));
    await page.shows('away; eve away, bob online; 0 [] complete');
    // useOnline still follows ada.
    assert.deepEqual(seen(gateway), { subscribe: before.subscribe + 1, unsubscribe: before.unsubscribe });
    await page.evaluate(() => window.followUsers([]));
    await eventually('both are unsubscribed', () => seen(gateway).unsubscribe === before.unsubscribe + 2);
    await page.evaluate(() => window.enterRoom(null));
    await page.shows('away; ; no count []');
    await page.evaluate(() => window.root.unmount());
    await eventually('all are unsubscribed', () => seen(gateway).unsubscribe === seen(gateway).subscribe);
  });

  it('starts again after the client was closed and connected', async (test) => {
    const gateway = await startPeople(test);
    gateway.setOnline('ada', true);
    gateway.join(ROOM, 'a');
    const page = await visit(test);
    await page.connect(gateway);
    await page.show();
    await page.shows('online; ada online, bob away; 1 [a] complete');
    await page.evaluate(() => window.client.close());
    await page.shows(NOTHING);
    await page.evaluate(() => window.client.connect());
    await page.shows('online; ada online, bob away; 1 [a] complete');
  });

  it('hydrates a page that a server rendered, without an error', async (test) => {
    const gateway = await startPeople(test);
    gateway.setOnline('ada', true);
    const page = await visit(test, renderedOrigin);
    await page.connect(gateway);
    await eventually('the client is connected', () => page.evaluate(() => window.client.state === 'connected'));
    await page.show();
    await page.shows('online; ada online, bob away; 0 [] complete');
    assert.deepEqual(await page.evaluate(() => window.faults), []);
  });
});
