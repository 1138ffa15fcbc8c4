// The shipped bundle in headless Chromium, with a real gateway behind a proxy that cuts connections.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { before, describe, it, after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { executablePath, startBrowser, startPages } from './support/browser.mjs';
import { deadline, eventually } from './support/deadline.mjs';
import { startGateway } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { startScripted } from './support/scripted.mjs';
import { assertOnceAndInOrder, publishThroughCuts } from './support/publishing.mjs';

const CUTS = Number(process.env.CUTS ?? 200);
const SEED = Number(process.env.SEED ?? 7);
const FAST = { baseMs: 5, maxMs: 50, stableMs: 1 };

/** Runs in the page: starts a client and records what it receives. */
async function startClient({ url, options }) {
  const { GatewayClient } = await import('/gateway-client.js');
  const client = new GatewayClient({ url, token: '42', ...options });
  Object.assign(window, { client, received: { 'user:42': [], all: [], 'room:7': [] }, gaps: [] });
  client.on('message', ({ channel, message }) => window.received[channel].push(message.n));
  client.on('gap', (event) => window.gaps.push(event));
  client.subscribe('room:7');
  client.connect();
}

/** Runs in the page: starts a client that uses the worker shared by all tabs. */
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
    assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
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

  it(`delivers every durable message once and in order over ${CUTS} cuts`, async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public], { seed: SEED });
    const page = await visit(test);
    await page.evaluate(startClient, { url: proxy.url, options: { backoff: FAST } });
    await eventually('the client is connected', async () => (await state(page)) === 'connected');
    const countOf = (channel) => count(page, channel);
    const published = await publishThroughCuts({ gateways: [gateway], proxy, count: countOf, cuts: CUTS });
    const { received, gaps } = await page.evaluate(() => ({ received: window.received, gaps: window.gaps }));
    assertOnceAndInOrder(received, published, gaps);
    const total = Object.values(published).reduce((sum, each) => sum + each);
    test.diagnostic(`${total} durable messages, cuts ${JSON.stringify(proxy.cuts)}`);
  });

  it('reconnects as soon as the network is back', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    // With this back-off only the online event reconnects before the deadline.
    const backoff = { baseMs: 10_000_000, maxMs: 10_000_000 };
    await page.evaluate(startClient, { url: proxy.url, options: { backoff } });
    await eventually('the client is connected', async () => (await state(page)) === 'connected');
    await page.context().setOffline(true);
    proxy.cutAll();
    await eventually('the client is waiting', async () => (await state(page)) === 'waiting');
    await gateway.publish('room:7', { n: 'missed' });
    await page.context().setOffline(false);
    await eventually('the client is connected again', async () => (await state(page)) === 'connected');
    await eventually('the missed message arrives', async () => (await count(page, 'room:7')) === 1);
    assert.deepEqual(await page.evaluate(() => window.gaps), []);
  });

  it('recovers every message after the page was frozen', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    const backoff = { baseMs: 10_000_000, maxMs: 10_000_000 };
    await page.evaluate(startClient, { url: proxy.url, options: { backoff } });
    await eventually('the client is connected', async () => (await state(page)) === 'connected');
    const protocol = await page.context().newCDPSession(page);
    await protocol.send('Page.setWebLifecycleState', { state: 'frozen' });
    proxy.cutAll();
    await gateway.publish('room:7', { n: 1 });
    await gateway.publish('room:7', { n: 2 });
    await protocol.send('Page.setWebLifecycleState', { state: 'active' });
    // The page gets the end of the socket when it runs again; becoming visible ends the wait.
    await eventually('all messages have arrived', async () => {
      await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
      return (await count(page, 'room:7')) === 2;
    });
    assert.deepEqual(await page.evaluate(() => window.received['room:7']), [1, 2]);
    assert.deepEqual(await page.evaluate(() => window.gaps), []);
  });

  it('shares one socket between tabs until the last one closes', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const context = await browser.newContext();
    test.after(() => context.close());
    const tabs = [];
    for (let tab = 0; tab < 3; tab++) {
      const page = await visit(test, context);
      await page.evaluate(startShared, { url: proxy.url, options: { backoff: FAST } });
      const subscribed = () => page.evaluate(() => window.room.state === 'subscribed');
      await eventually('the channel is subscribed', subscribed);
      tabs.push(page);
    }
    assert.equal(proxy.accepted, 1);
    await gateway.publish('room:7', { n: 1 });
    await gateway.publish('user:42', { n: 1 });
    for (const page of tabs) {
      await eventually('the message arrives', async () => (await count(page, 'room:7')) + (await count(page, 'user:42')) === 2);
    }
    // The worker resumes for all tabs.
    proxy.cutAll();
    await gateway.publish('room:7', { n: 2 });
    for (const page of tabs) await eventually('the message arrives', async () => (await count(page, 'room:7')) === 2);
    assert.equal(proxy.accepted, 2);
    await tabs.pop().close();
    await gateway.publish('room:7', { n: 3 });
    for (const page of tabs) await eventually('the message arrives', async () => (await count(page, 'room:7')) === 3);
    assert.equal(proxy.accepted, 2, 'the socket stays open when a tab closes');
    for (const page of tabs) {
      assert.deepEqual(await page.evaluate(() => [window.received['room:7'], window.gaps]), [[1, 2, 3], []]);
    }
    // A closed client notifies the worker; the worker itself stays.
    for (const page of tabs) await page.evaluate(() => window.client.close());
    await eventually('the socket is closed', () => proxy.connections.size === 0);
  });

  /** Opens tabs that share a worker; `order` sends a command to the worker. */
  async function visitShared(test, proxy, { count, script, options }) {
    const context = await browser.newContext();
    test.after(() => context.close());
    const tabs = await Promise.all(Array.from({ length: count }, () => visit(test, context)));
    for (const page of tabs) {
      await page.evaluate(startShared, { url: proxy.url, script, options: { backoff: FAST, ...options } });
      await eventually('the channel is subscribed', () => page.evaluate(() => window.room.state === 'subscribed'));
    }
    const order = (what) => tabs[0].evaluate((name) => new BroadcastChannel('test').postMessage(name), what);
    return { tabs, order };
  }

  async function allHave(tabs, channel, numbers) {
    for (const page of tabs) {
      await eventually(`messages ${numbers} arrive`, async () => (await count(page, channel)) >= numbers.length);
      const [received, gaps] = await page.evaluate((name) => [window.received[name], window.gaps], channel);
      assert.deepEqual([received, gaps], [numbers, []]);
    }
  }

  it(`delivers every durable message once to tabs with a shared worker over ${CUTS} cuts`, async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public], { seed: SEED });
    const { tabs } = await visitShared(test, proxy, { count: 2, script: '/shared-worker.js' });
    const least = async (channel) => Math.min(...(await Promise.all(tabs.map((page) => count(page, channel)))));
    const published = await publishThroughCuts({ gateways: [gateway], proxy, count: least, cuts: CUTS });
    for (const page of tabs) {
      const { received, gaps } = await page.evaluate(() => ({ received: window.received, gaps: window.gaps }));
      assertOnceAndInOrder(received, published, gaps);
    }
  });

  it('continues with another worker when the shared worker ends', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const { tabs, order } = await visitShared(test, proxy, { count: 2, script: '/orderly-worker.js' });
    for (const channel of ['room:7', 'user:42']) await gateway.publish(channel, { n: 1 });
    for (const channel of ['room:7', 'user:42']) await allHave(tabs, channel, [1]);
    await order('end');
    for (const page of tabs) {
      await eventually('the tab detects the end of the worker', () => page.evaluate(() => window.lost > 0));
    }
    for (const channel of ['room:7', 'user:42']) await gateway.publish(channel, { n: 2 });
    for (const channel of ['room:7', 'user:42']) await allHave(tabs, channel, [1, 2]);
    assert.equal(proxy.accepted, 2, 'the tabs share the new worker');
  });

  it('opens its own socket if the worker hangs or cannot be loaded', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const hanging = await visitShared(test, proxy, { count: 1, script: '/orderly-worker.js', options: { workerTimeoutMs: 1_000 } });
    await gateway.publish('room:7', { n: 1 });
    await allHave(hanging.tabs, 'room:7', [1]);
    await hanging.order('hang');
    await eventually('the tab has given up two workers', () => hanging.tabs[0].evaluate(() => window.lost >= 2));
    await gateway.publish('room:7', { n: 2 });
    await allHave(hanging.tabs, 'room:7', [1, 2]);
    const without = await visitShared(test, proxy, { count: 1, script: '/nowhere.js' });
    await gateway.publish('room:7', { n: 3 });
    await allHave(without.tabs, 'room:7', [3]);
  });

  it('renders with React in strict mode, over cuts and channel changes', async (test) => {
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

  it('shows a recovering channel in React until it is subscribed', async (test) => {
    const scripted = await startScripted(test);
    scripted.isStalled = true;
    const page = await visit(test, undefined, '/react.html');
    await page.evaluate((url) => window.start(url), scripted.url);
    const shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#room')) === text);
    await shows('connected room:7 recovering [] whole');
    scripted.recover();
    await shows('connected room:7 subscribed [] whole');
    scripted.publish('room:7', { n: 1 });
    await shows('connected room:7 subscribed [1] whole');
  });

  it('runs the chat example with two users', async (test) => {
    const chat = await startGateway(test, { 'server.allowed_origins': '*' });
    const server = fileURLToPath(new URL('../examples/chat-server.mjs', import.meta.url));
    const env = { ...process.env, PORT: '0', GATEWAY_ADMIN: `http://127.0.0.1:${chat.admin}` };
    const child = spawn(process.execPath, [server], { env });
    test.after(() => child.kill('SIGKILL'));
    const line = await deadline(new Promise((resolve) => child.stdout.once('data', resolve)), 'the server listens');
    const address = new URL(String(line).trim());
    const pages = [];
    for (const user of ['ada', 'bob']) {
      const page = await visit(test, undefined, '/');
      address.search = `?user=${user}&gateway=ws://127.0.0.1:${chat.public}/`;
      await page.goto(String(address));
      await eventually('the client is connected', async () => (await page.textContent('#state')) === `${user}: connected`);
      pages.push(page);
    }
    const send = async (page, text) => {
      await page.getByLabel('Message').fill(text);
      await page.keyboard.press('Enter');
    };
    const shown = (page) => page.locator('#messages li').allTextContents();
    await send(pages[0], '<b>hello</b>');
    for (const page of pages) await eventually('the message is shown', async () => (await shown(page)).length === 1);
    await send(pages[1], 'hello yourself');
    for (const page of pages) {
      await eventually('the message is shown', async () => (await shown(page)).length === 2);
      assert.deepEqual(await shown(page), ['ada: <b>hello</b>', 'bob: hello yourself']);
    }
    await eventually('the field is empty', async () => (await pages[1].getByLabel('Message').inputValue()) === '');
  });
});
