// The life cycle of a page in headless Chromium: back/forward cache, network, and React with server rendering.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { renderToString } from 'react-dom/server';
import { GatewayClient } from '../dist/index.js';
import { app } from './pages/room.mjs';
import { executablePath, startBrowser, startPages } from './support/browser.mjs';
import { eventually } from './support/deadline.mjs';
import { FakeSocket, hello, ready, start } from './support/fake.mjs';
import { startGateway } from './support/gateway.mjs';
import { oddFrames, ROOM } from './support/odd.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { startScripted } from './support/scripted.mjs';

describe('a page that a server renders', () => {
  it('does not depend on the client and sends no request', async () => {
    const idle = new GatewayClient({ url: 'ws://gateway.test/', token: '42', WebSocket: FakeSocket });
    const world = start();
    world.client.connect();
    await ready(world);
    const pages = [idle, world.client].map((client) => renderToString(app(client)));
    assert.equal(pages[0], pages[1]);
    assert.match(pages[0], /idle pending/);
    assert.equal(world.socket.ops(4).length, 0);
    world.client.close();
    assert.equal(renderToString(app(world.client)), pages[0]);
    world.client.connect();
    assert.ok(!(await hello(world)).channels.some(({ channel }) => channel === ROOM));
    world.client.close();
  });
});

describe('in Chromium', () => {
  const endings = [];
  const reports = [];
  let browser, origin, gateway;

  before(async () => {
    assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
    const suite = { after: (end) => endings.unshift(end) };
    const server = new GatewayClient({ url: 'ws://gateway.test/', token: '42', WebSocket: FakeSocket });
    origin = await startPages(suite, { reports, rendered: renderToString(app(server)) });
    gateway = await startGateway(suite, { 'server.allowed_origins': origin });
    // Playwright disables the back/forward cache by default.
    browser = await startBrowser(suite, { ignoreDefaultArgs: ['--disable-back-forward-cache'] });
  });

  after(async () => {
    for (const end of endings) await end();
  });

  async function visit(test, path = '/') {
    const context = await browser.newContext();
    test.after(() => context.close());
    const page = await context.newPage();
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
    await page.goto(origin + path);
    return page;
  }

  /** Runs in the page: starts a client that reports events over HTTP, because the test cannot query a cached page. */
  async function startReporting({ url, name, shared }) {
    const report = (what) => fetch('/report', { method: 'POST', body: JSON.stringify({ name, ...what }) });
    const options = { url, token: '42', key: 'user 42', backoff: { baseMs: 10_000_000, maxMs: 10_000_000 } };
    if (shared) {
      const { SharedClient } = await import('/dist/shared.js');
      const worker = () => new SharedWorker('/shared-worker.js');
      window.client = new SharedClient({ ...options, worker });
    } else {
      const { GatewayClient } = await import('/gateway-client.js');
      window.client = new GatewayClient(options);
    }
    const { client } = window;
    addEventListener('pageshow', ({ persisted }) => report({ persisted }));
    client.on('message', ({ channel, message }) => channel === 'room:7' && report({ n: message.n }));
    client.on('gap', ({ channel, reason }) => report({ gap: `${channel} ${reason}` }));
    client.on('subscribed', ({ channel }) => channel === 'room:7' && report({ subscribed: true }));
    client.subscribe('room:7');
    client.connect();
  }

  const reported = (name) => reports.filter((report) => report.name === name);
  const numbers = (name) => reported(name).flatMap(({ n }) => (n === undefined ? [] : [n]));

  for (const shared of [false, true]) {
    const name = shared ? 'a tab of a shared worker' : 'a page';
    it(`${name} enters the back/forward cache, returns, and misses nothing`, async (test) => {
      const proxy = await FaultProxy.start(test, [gateway.public]);
      const page = await visit(test);
      const first = await gateway.publish(ROOM, { n: 0 });
      assert.ok(first);
      await page.evaluate(startReporting, { url: proxy.url, name, shared });
      await eventually('the channel is subscribed', () => reported(name).some(({ subscribed }) => subscribed));
      await gateway.publish(ROOM, { n: 1 });
      await eventually('the message arrives', () => numbers(name).length === 1);
      await page.goto(`${origin}/?other`);
      await eventually('the socket is closed', () => proxy.connections.size === 0);
      await gateway.publish(ROOM, { n: 2 });
      await page.evaluate(() => void setTimeout(() => history.back()));
      await eventually('the page returns from the cache', () => reported(name).some(({ persisted }) => persisted));
      await gateway.publish(ROOM, { n: 3 });
      await eventually('all messages arrive', () => numbers(name).length >= 3);
      assert.deepEqual(numbers(name), [1, 2, 3]);
      assert.deepEqual(
        reported(name).filter(({ gap }) => gap),
        [],
      );
    });
  }

  it('a page reports offline at once, and recovers with the network', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    await page.evaluate(startReporting, { url: proxy.url, name: 'offline' });
    await eventually('the channel is subscribed', () => reported('offline').some(({ subscribed }) => subscribed));
    await page.context().setOffline(true);
    // The socket is still open.
    await eventually('the client is waiting', () => page.evaluate(() => window.client.state === 'waiting'));
    await gateway.publish(ROOM, { n: 7 });
    await page.context().setOffline(false);
    await eventually('the missed message arrives', () => numbers('offline').length === 1);
    assert.deepEqual(numbers('offline'), [7]);
  });

  it('a hanging attempt is restarted when the network is back', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test);
    // The proxy drops every byte, as a failed network does.
    proxy.silenceShare = 1;
    proxy.maxBytes = 1;
    proxy.cutsLeft = 1;
    await page.evaluate(startReporting, { url: proxy.url, name: 'hung' });
    await eventually('the attempt hangs', () => proxy.cuts.silence === 1);
    assert.equal(await page.evaluate(() => window.client.state), 'connecting');
    await page.evaluate(() => dispatchEvent(new Event('online')));
    await eventually('the client is connected', () => page.evaluate(() => window.client.state === 'connected'));
    assert.equal(proxy.accepted, 2);
  });

  it('a page survives malformed frames without an error', async (test) => {
    const scripted = await startScripted(test);
    const page = await visit(test);
    await page.evaluate(async (url) => {
      const { GatewayClient } = await import('/gateway-client.js');
      window.received = [];
      window.client = new GatewayClient({ url, token: '42', backoff: { baseMs: 1, maxMs: 5 } });
      window.client.on('message', ({ message }) => window.received.push(message?.n));
      window.client.subscribe('room:7');
      window.client.connect();
    }, scripted.url);
    const connected = () => page.evaluate(() => window.client.state === 'connected');
    await eventually('the client is connected', connected);
    // The client obeys the delay of the gateway, whatever its value.
    const frames = [...oddFrames()].filter(({ op }) => op !== 7);
    for (const frame of frames) scripted.sendRaw(typeof frame === 'string' ? frame : JSON.stringify(frame));
    scripted.send({ op: 3, channel: ROOM, message: { n: 'after all' } });
    await eventually('the next message arrives', () => page.evaluate(() => window.received.includes('after all')));
    for (const raw of ['', '{', Buffer.from('null'), Buffer.from([0xff, 0xfe])]) {
      await eventually('the client is connected', connected);
      scripted.sendRaw(raw);
      await eventually('the client is connected again', () => page.evaluate(() => window.client.wake() ?? window.client.state === 'connected'));
    }
    assert.deepEqual(page.faults, []);
  });

  it('React hydrates a page in strict mode after the client connected', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test, '/hydrate.html');
    assert.match(await page.textContent('#state'), /^idle pending/);
    await page.evaluate((url) => window.connect(url), proxy.url);
    await eventually('the client is connected', () => page.evaluate(() => window.client.state === 'connected'));
    await page.evaluate(() => window.hydrate());
    const shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#state')) === text);
    await shows('connected subscribed whole');
    // Plain messages have no position, so two equal messages are two items.
    for (const n of [1, 1, 2]) await gateway.publish(ROOM, { n }, false);
    await eventually('the messages are listed', async () => (await page.locator('#messages li').count()) === 3);
    assert.deepEqual(await page.evaluate(() => window.faults), []);
    assert.deepEqual(page.faults, []);
  });

  it('a channel in React is subscribed again after close() and connect()', async (test) => {
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const page = await visit(test, '/hydrate.html');
    await page.evaluate((url) => window.connect(url), proxy.url);
    await page.evaluate(() => window.hydrate());
    const shows = (text) => eventually(`it shows ${text}`, async () => (await page.textContent('#state')) === text);
    await shows('connected subscribed whole');
    await gateway.publish(ROOM, { n: 1 });
    await eventually('the message is listed', async () => (await page.locator('#messages li').count()) === 1);
    for (let turn = 0; turn < 3; turn++) {
      await page.evaluate(() => window.client.close());
      await shows('closed closed whole');
      await page.evaluate(() => window.client.connect());
      await shows('connected subscribed whole');
      assert.equal(await page.locator('#messages li').count(), 0, 'the list is empty after close()');
    }
    await gateway.publish(ROOM, { n: 2 });
    await eventually('the message arrives', async () => (await page.textContent('#messages')) === '2');
    // The same twice in one task.
    await page.evaluate(() => {
      window.client.close();
      window.client.connect();
    });
    await shows('connected subscribed whole');
    assert.deepEqual(page.faults, []);
  });
});
