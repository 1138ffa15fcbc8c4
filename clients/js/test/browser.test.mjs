// The library as it is shipped, in headless Chromium, against a real gateway through a proxy that cuts its connections.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { before, describe, it, after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { executablePath, startBrowser, startPages } from './support/browser.mjs';
import { deadline, eventually } from './support/deadline.mjs';
import { startGateway } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { startScripted } from './support/scripted.mjs';
import { assertOnceAndInOrder, publishThroughCuts } from './support/story.mjs';

const CUTS = Number(process.env.CUTS ?? 200);
const SEED = Number(process.env.SEED ?? 7);
const FAST = { baseMs: 5, maxMs: 50, stableMs: 1 };

/** Runs in the page: a client, and a record of what it hears. */
async function startClient({ url, options }) {
  const { GatewayClient } = await import('/gateway-client.js');
  const client = new GatewayClient({ url, token: '42', ...options });
  Object.assign(window, { client, received: { 'user:42': [], all: [], 'room:7': [] }, gaps: [] });
  client.on('message', ({ channel, message }) => window.received[channel].push(message.n));
  client.on('gap', (event) => window.gaps.push(event));
  client.subscribe('room:7');
  client.connect();
}

/** Runs in the page: the same through the worker that all tabs share. */
async function startShared({ url, script = '/shared-worker.js', options }) {
  const { SharedClient } = await import('/dist/shared.js');
  const client = new SharedClient({ url, token: '42', worker: () => new SharedWorker(script), ...options });
  Object.assign(window, { client, received: { 'user:42': [], all: [], 'room:7': [] }, gaps: [] });
  client.on('message', ({ channel, message }) => window.received[channel].push(message.n));
  client.on('gap', (event) => window.gaps.push(event));
  window.lost = 0;
  client.on('state', ({ reason }) => (window.lost += reason === 'the shared worker has gone' && client.state === 'waiting' ? 1 : 0));
  window.room = client.subscribe('room:7');
  client.connect();
}

const state = (page) => page.evaluate(() => window.client.state);
const count = (page, channel) => page.evaluate((name) => window.received[name].length, channel);

describe('in Chromium', () => {
  const endings = [];
  let browser, origin, gateway;

  before(async () => {
    assert.ok(executablePath, 'there is no Chromium: install it (scripts/setup chromium), or name one in CHROMIUM');
    const suite = { after: (end) => endings.unshift(end) };
    origin = await startPages(suite);
    gateway = await startGateway(suite, { 'server.allowed_origins': origin });
    browser = await startBrowser(suite);
  });

  after(async () => {
    for (const end of endings) await end();
  });

  async function visit(test, context, path = '/') {
    const own = context ?? (await browser.newContext());
    if (!context) test.after(() => own.close());
    const page = await own.newPage();
    page.on('pageerror', (error) => test.diagnostic(`page error: ${error}`));
    await page.goto(origin + path);
    return page;
  }

  it(`gives every durable message once and in order over ${CUTS} cuts`, async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public], { seed: SEED });
    const page = await visit(test);
    await page.evaluate(startClient, { url: proxy.url, options: { backoff: FAST } });
    await eventually('it is connected', async () => (await state(page)) === 'connected');
    const heard = (channel) => count(page, channel);
    const published = await publishThroughCuts({ gateways: [gateway], proxy, count: heard, cuts: CUTS });
    const { received, gaps } = await page.evaluate(() => ({ received: window.received, gaps: window.gaps }));
    assertOnceAndInOrder(received, published, gaps);
    const total = Object.values(published).reduce((sum, each) => sum + each);
    test.diagnostic(`${total} durable messages, cuts ${JSON.stringify(proxy.cuts)}`);
  });

  it('comes back at once when the network does', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    // With this back-off only the event brings it back within the deadline.
    const backoff = { baseMs: 10_000_000, maxMs: 10_000_000 };
    await page.evaluate(startClient, { url: proxy.url, options: { backoff } });
    await eventually('it is connected', async () => (await state(page)) === 'connected');
    await page.context().setOffline(true);
    proxy.cutAll();
    await eventually('it waits', async () => (await state(page)) === 'waiting');
    await gateway.publish('room:7', { n: 'missed' });
    await page.context().setOffline(false);
    await eventually('it is back', async () => (await state(page)) === 'connected');
    await eventually('what was missed arrives', async () => (await count(page, 'room:7')) === 1);
    assert.deepEqual(await page.evaluate(() => window.gaps), []);
  });

  it('misses nothing in a page that was frozen in the background', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    const backoff = { baseMs: 10_000_000, maxMs: 10_000_000 };
    await page.evaluate(startClient, { url: proxy.url, options: { backoff } });
    await eventually('it is connected', async () => (await state(page)) === 'connected');
    const protocol = await page.context().newCDPSession(page);
    await protocol.send('Page.setWebLifecycleState', { state: 'frozen' });
    proxy.cutAll();
    await gateway.publish('room:7', { n: 1 });
    await gateway.publish('room:7', { n: 2 });
    await protocol.send('Page.setWebLifecycleState', { state: 'active' });
    // The socket's end is told when the page runs again; being seen again ends the wait.
    await eventually('it is back with all', async () => {
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      return (await count(page, 'room:7')) === 2;
    });
    assert.deepEqual(await page.evaluate(() => window.received['room:7']), [1, 2]);
    assert.deepEqual(await page.evaluate(() => window.gaps), []);
  });

  it('shares one socket between tabs, until the last of them is gone', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const context = await browser.newContext();
    test.after(() => context.close());
    const tabs = [];
    for (let tab = 0; tab < 3; tab++) {
      const page = await visit(test, context);
      await page.evaluate(startShared, { url: proxy.url, options: { backoff: FAST } });
      const subscribed = () => page.evaluate(() => window.room.state === 'subscribed');
      await eventually('it is subscribed', subscribed);
      tabs.push(page);
    }
    assert.equal(proxy.accepted, 1);
    await gateway.publish('room:7', { n: 1 });
    await gateway.publish('user:42', { n: 1 });
    for (const page of tabs) {
      await eventually('it arrives', async () => (await count(page, 'room:7')) + (await count(page, 'user:42')) === 2);
    }
    // The worker resumes for all of them.
    proxy.cutAll();
    await gateway.publish('room:7', { n: 2 });
    for (const page of tabs) await eventually('it arrives', async () => (await count(page, 'room:7')) === 2);
    assert.equal(proxy.accepted, 2);
    await tabs.pop().close();
    await gateway.publish('room:7', { n: 3 });
    for (const page of tabs) await eventually('it arrives', async () => (await count(page, 'room:7')) === 3);
    assert.equal(proxy.accepted, 2, 'the socket outlives a tab');
    for (const page of tabs) {
      assert.deepEqual(await page.evaluate(() => [window.received['room:7'], window.gaps]), [[1, 2, 3], []]);
    }
    // A page that is left says goodbye; the worker lives on with the browser's next page.
    for (const page of tabs) await page.evaluate(() => window.client.close());
    await eventually('the socket is closed', () => proxy.connections.size === 0);
  });

  /** Tabs of one browser that share a worker, which does what `order` tells it. */
  async function visitShared(test, proxy, { count, script, options }) {
    const context = await browser.newContext();
    test.after(() => context.close());
    const tabs = await Promise.all(Array.from({ length: count }, () => visit(test, context)));
    for (const page of tabs) {
      await page.evaluate(startShared, { url: proxy.url, script, options: { backoff: FAST, ...options } });
      await eventually('it is subscribed', () => page.evaluate(() => window.room.state === 'subscribed'));
    }
    const order = (what) => tabs[0].evaluate((name) => new BroadcastChannel('test').postMessage(name), what);
    return { tabs, order };
  }

  async function allHave(tabs, channel, numbers) {
    for (const page of tabs) {
      await eventually(`it has heard ${numbers}`, async () => (await count(page, channel)) >= numbers.length);
      const [heard, gaps] = await page.evaluate((name) => [window.received[name], window.gaps], channel);
      assert.deepEqual([heard, gaps], [numbers, []]);
    }
  }

  it(`gives every durable message once and in order over ${CUTS} cuts to tabs that share a worker`, async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public], { seed: SEED });
    const { tabs } = await visitShared(test, proxy, { count: 2, script: '/shared-worker.js' });
    const least = async (channel) => Math.min(...(await Promise.all(tabs.map((page) => count(page, channel)))));
    const published = await publishThroughCuts({ gateways: [gateway], proxy, count: least, cuts: CUTS });
    for (const page of tabs) {
      const { received, gaps } = await page.evaluate(() => ({ received: window.received, gaps: window.gaps }));
      assertOnceAndInOrder(received, published, gaps);
    }
  });

  it('goes on with another worker when the one that tabs share has ended', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const { tabs, order } = await visitShared(test, proxy, { count: 2, script: '/orderly-worker.js' });
    for (const channel of ['room:7', 'user:42']) await gateway.publish(channel, { n: 1 });
    for (const channel of ['room:7', 'user:42']) await allHave(tabs, channel, [1]);
    await order('end');
    for (const page of tabs) {
      await eventually('it knows', () => page.evaluate(() => window.lost > 0));
    }
    for (const channel of ['room:7', 'user:42']) await gateway.publish(channel, { n: 2 });
    for (const channel of ['room:7', 'user:42']) await allHave(tabs, channel, [1, 2]);
    assert.equal(proxy.accepted, 2, 'they share the new one');
  });

  it('has a socket of its own when the worker stands still, or cannot be loaded', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const still = await visitShared(test, proxy, { count: 1, script: '/orderly-worker.js', options: { workerTimeoutMs: 1_000 } });
    await gateway.publish('room:7', { n: 1 });
    await allHave(still.tabs, 'room:7', [1]);
    await still.order('stand still');
    await eventually('it has given up two', () => still.tabs[0].evaluate(() => window.lost >= 2));
    await gateway.publish('room:7', { n: 2 });
    await allHave(still.tabs, 'room:7', [1, 2]);
    const without = await visitShared(test, proxy, { count: 1, script: '/nowhere.js' });
    await gateway.publish('room:7', { n: 3 });
    await allHave(without.tabs, 'room:7', [3]);
  });

  it('renders with React, through strict mode, cuts and a change of channel', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test, undefined, '/react.html');
    await page.evaluate((url) => window.start(url), proxy.url);
    const shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#room')) === text);
    await shows('connected room:7 subscribed [] whole');
    for (let n = 1; n <= 4; n++) await gateway.publish('room:7', { n });
    await shows('connected room:7 subscribed [2 3 4] whole');
    proxy.cutAll();
    await gateway.publish('room:7', { n: 5 });
    await shows('connected room:7 subscribed [3 4 5] whole');
    await page.evaluate(() => window.show('room:8'));
    await shows('connected room:8 subscribed [] whole');
    await gateway.publish('room:8', { n: 1 });
    await shows('connected room:8 subscribed [1] whole');
  });

  it('shows in React that a channel recovers, until it is subscribed', async (test) => {
    const own = ['user:42', 'all'].map((channel) => ({ channel, position: '1-0' }));
    const scripted = await startScripted(test, [...own, { channel: 'room:7', state: 'recovering' }]);
    const page = await visit(test, undefined, '/react.html');
    await page.evaluate((url) => window.start(url), scripted.url);
    const shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#room')) === text);
    await shows('connected room:7 recovering [] whole');
    scripted.say({ op: 6, channel: 'room:7', state: 'subscribed', position: '5-0' });
    await shows('connected room:7 subscribed [] whole');
    scripted.say({ op: 3, channel: 'room:7', position: '5-1', message: { n: 1 } });
    await shows('connected room:7 subscribed [1] whole');
  });

  it('runs the chat of the examples, in which two people talk', async (test) => {
    const chat = await startGateway(test, { 'server.allowed_origins': '*' });
    const server = fileURLToPath(new URL('../examples/chat-server.mjs', import.meta.url));
    const env = { ...process.env, PORT: '0', GATEWAY_ADMIN: `http://127.0.0.1:${chat.admin}` };
    const child = spawn(process.execPath, [server], { env });
    test.after(() => child.kill('SIGKILL'));
    const line = await deadline(new Promise((resolve) => child.stdout.once('data', resolve)), 'it listens');
    const address = new URL(String(line).trim());
    const pages = [];
    for (const user of ['ada', 'bob']) {
      const page = await visit(test, undefined, '/');
      address.search = `?user=${user}&gateway=ws://127.0.0.1:${chat.public}/`;
      await page.goto(String(address));
      await eventually('it is connected', async () => (await page.textContent('#state')) === `${user}: connected`);
      pages.push(page);
    }
    const say = async (page, text) => {
      await page.getByLabel('Message').fill(text);
      await page.keyboard.press('Enter');
    };
    const shown = (page) => page.locator('#messages li').allTextContents();
    await say(pages[0], '<b>hello</b>');
    for (const page of pages) await eventually('it is shown', async () => (await shown(page)).length === 1);
    await say(pages[1], 'hello yourself');
    for (const page of pages) {
      await eventually('it is shown', async () => (await shown(page)).length === 2);
      assert.deepEqual(await shown(page), ['ada: <b>hello</b>', 'bob: hello yourself']);
    }
    await eventually('the field is empty', async () => (await pages[1].getByLabel('Message').inputValue()) === '');
  });
});
