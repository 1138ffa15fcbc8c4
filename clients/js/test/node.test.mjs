// The library in Node, with real gateways behind a proxy that cuts connections.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { GatewayClient } from '../dist/index.js';
import { deadline, eventually } from './support/deadline.mjs';
import { startGateway, startRedis } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { assertOnceAndInOrder, CHANNELS, publishThroughCuts, reaches } from './support/publishing.mjs';

const CUTS = Number(process.env.CUTS ?? 200);
const SEED = Number(process.env.SEED ?? 42);
/** Short delays, so that many cuts fit into a test. */
const FAST = { baseMs: 5, maxMs: 50, stableMs: 1 };

function connect(test, options) {
  const client = new GatewayClient({ token: '42', WebSocket, backoff: FAST, ...options });
  test.after(() => client.close());
  return client;
}

/** Records with callbacks what a client receives on all channels. */
function record(client) {
  const received = Object.fromEntries(CHANNELS.map((channel) => [channel, []]));
  const gaps = [];
  let recovered = 0;
  client.on('message', ({ channel, message }) => received[channel].push(message.n));
  client.on('gap', (event) => gaps.push(event));
  client.on('recovered', () => recovered++);
  return { received, gaps, count: (channel) => received[channel].length, recoveries: () => recovered };
}

async function survivesCuts(test, gateways) {
  const ports = gateways.map((gateway) => gateway.public);
  const proxy = await FaultProxy.start(test, ports, { seed: SEED, silenceShare: 0.05 });
  const client = connect(test, { url: proxy.url, heartbeatTimeoutMs: 200, connectTimeoutMs: 1_000 });
  // The heartbeat detects a silent connection within 45 s; an app that becomes visible checks at once.
  proxy.onSilence = () => client.wake();
  client.subscribe('room:7');
  const recorded = record(client);
  const iterated = Object.fromEntries(CHANNELS.map((channel) => [channel, []]));
  const loop = (async () => {
    for await (const { type, channel, message } of client) if (type === 'message') iterated[channel].push(message.n);
  })();
  client.connect();
  await reaches(client, 'connected');
  const { count } = recorded;
  const published = await publishThroughCuts({ gateways, proxy, count, cuts: CUTS });
  assertOnceAndInOrder(recorded.received, published, recorded.gaps);
  client.close();
  await deadline(loop, 'the iteration ends');
  assertOnceAndInOrder(iterated, published, []);
  assert.ok(proxy.cutsMade >= CUTS);
  const total = Object.values(published).reduce((sum, each) => sum + each);
  const cuts = JSON.stringify(proxy.cuts);
  test.diagnostic(`${total} durable messages, cuts ${cuts}, ${recorded.recoveries()} times a channel was recovered`);
}

it(`delivers every durable message once and in order over ${CUTS} cuts, in memory`, async (test) => {
  await survivesCuts(test, [await startGateway(test)]);
});

it(`delivers every durable message once over ${CUTS} cuts, with two replicas on Redis`, async (test) => {
  const url = await startRedis(test);
  const settings = { 'broker.url': url };
  await survivesCuts(test, await Promise.all([startGateway(test, settings), startGateway(test, settings)]));
});

it('reconnects to another replica after a drain and misses nothing', async (test) => {
  const settings = { 'broker.url': await startRedis(test), 'drain.delay': '0s', 'drain.window': '0s' };
  const [leaving, staying] = await Promise.all([startGateway(test, settings), startGateway(test, settings)]);
  const proxy = await FaultProxy.start(test, [leaving.public]);
  const client = connect(test, { url: proxy.url });
  client.subscribe('room:7');
  const { received, gaps, count } = record(client);
  client.connect();
  await reaches(client, 'connected');
  await leaving.publish('room:7', { n: 1 });
  await eventually('the first message arrives', () => count('room:7') === 1);
  proxy.ports = [staying.public];
  leaving.child.kill('SIGTERM');
  const waiting = await reaches(client, 'waiting');
  assert.equal(waiting.code, 1012);
  assert.ok(waiting.retryInMs > 50, 'the delay of op 7 (200 to 3000 ms), not the 5 ms of the back-off');
  await staying.publish('room:7', { n: 2 });
  await reaches(client, 'connected');
  await eventually('the second message arrives', () => count('room:7') === 2);
  assert.deepEqual(received['room:7'], [1, 2]);
  assert.deepEqual(gaps, []);
});

it('reports a gap when the history is gone', async (test) => {
  const first = await startGateway(test);
  const proxy = await FaultProxy.start(test, [first.public]);
  const client = connect(test, { url: proxy.url });
  client.subscribe('room:7');
  const { received, gaps, count } = record(client);
  client.connect();
  await reaches(client, 'connected');
  await first.publish('room:7', { n: 1 });
  await eventually('the first message arrives', () => count('room:7') === 1);
  // The history in memory is lost with the process.
  const second = await startGateway(test);
  proxy.ports = [second.public];
  first.child.kill('SIGKILL');
  await eventually('the gap is reported', () => gaps.some(({ channel }) => channel === 'room:7'));
  assert.equal(gaps.find(({ channel }) => channel === 'room:7').reason, 'not_recovered');
  await second.publish('room:7', { n: 2 });
  await eventually('the second message arrives', () => count('room:7') === 2);
  assert.deepEqual(received['room:7'], [1, 2]);
});

it('resumes from the position of an earlier process', async (test) => {
  const gateway = await startGateway(test);
  const url = `ws://127.0.0.1:${gateway.public}/`;
  const visit = async (since) => {
    const client = connect(test, { url });
    const room = client.subscribe('room:7', since ? { since } : {});
    const numbers = [];
    room.on('message', ({ message }) => numbers.push(message.n));
    client.connect();
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    await gateway.publish('room:7', { n: numbers.length });
    return { client, room, numbers };
  };
  const first = await visit();
  await eventually('the first message arrives', () => first.numbers.length === 1);
  const { position } = first.room;
  first.client.close();
  for (const n of [10, 11]) await gateway.publish('room:7', { n });
  const second = await visit(position);
  await eventually('the other messages arrive', () => second.numbers.length === 3);
  assert.deepEqual(second.numbers.slice(0, 2), [10, 11]);
});

it('refreshes an expiring token, or reconnects with a new one', async (test) => {
  const secret = 'a secret of at least thirty-two bytes';
  const gateway = await startGateway(test, { 'auth.kind': 'jwt', 'auth.secret': secret });
  const url = `ws://127.0.0.1:${gateway.public}/`;
  const mint = (seconds) => token(secret, { sub: '42', exp: Math.floor(Date.now() / 1_000) + seconds });
  const [refreshed, expired] = [[], []];
  const kept = connect(test, { url, token: (reason) => (refreshed.push(reason), mint(8)) });
  const lost = connect(test, { url, token: (reason) => (expired.push(reason), reason === 'refresh' ? null : mint(4)) });
  const states = [];
  kept.on('state', ({ state }) => states.push(state));
  const [codes, failures] = [[], []];
  kept.on('error', (event) => failures.push(event));
  lost.on('state', ({ code }) => code && codes.push(code));
  kept.connect();
  lost.connect();
  await eventually('one token is refreshed', () => refreshed.includes('refresh'));
  await eventually('the other client is connected again', () => expired.includes('expired') && lost.state === 'connected');
  // The answer to a heartbeat sent now arrives after the answer to the refresh.
  const answered = new Promise((resolve) => kept.on('latency', resolve));
  kept.wake();
  await deadline(answered, 'the gateway answers a heartbeat');
  assert.deepEqual(states, ['connecting', 'connected']);
  assert.deepEqual(failures, []);
  assert.equal(codes[0], 4009);
});

it('closes after its token is refused', async (test) => {
  const secret = 'a secret of at least thirty-two bytes';
  const gateway = await startGateway(test, { 'auth.kind': 'jwt', 'auth.secret': secret });
  const client = connect(test, { url: `ws://127.0.0.1:${gateway.public}/`, token: () => 'nobody' });
  client.connect();
  const closed = await reaches(client, 'closed');
  assert.equal(closed.code, 4003);
});

it('reports why it cannot connect', async (test) => {
  const server = createServer((request, response) => response.writeHead(503).end());
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `ws://127.0.0.1:${server.address().port}/`;
  const failsWith = async (cause) => {
    const client = connect(test, { url });
    const errors = [];
    client.on('error', ({ where, error }) => errors.push([where, error.message]));
    client.connect();
    const { reason } = await reaches(client, 'waiting');
    assert.match(reason, cause);
    assert.deepEqual(errors[0], ['socket', reason]);
    client.close();
  };
  await failsWith(/503/);
  await new Promise((resolve) => server.close(resolve));
  await failsWith(/ECONNREFUSED/);
});

it('measures the latency, and subscribes while connected', async (test) => {
  const gateway = await startGateway(test);
  const client = connect(test, { url: `ws://127.0.0.1:${gateway.public}/` });
  client.connect();
  await eventually('the latency is known', () => client.latencyMs !== undefined);
  const room = client.subscribe('room:8');
  const secret = client.subscribe('secret:1');
  await eventually('the channel is subscribed', () => room.state === 'subscribed');
  await eventually('the channel is refused', () => secret.state === 'refused');
  const events = [];
  room.on('message', (event) => events.push(event));
  await gateway.publish('room:8', { n: 1 }, false);
  await eventually('the message arrives', () => events.length === 1);
  assert.deepEqual(events, [{ type: 'message', channel: 'room:8', message: { n: 1 } }]);
});

it('runs the consumer example, which resumes after a restart', async (test) => {
  const gateway = await startGateway(test);
  const folder = mkdtempSync(join(tmpdir(), 'gateway-consumer-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const consumer = fileURLToPath(new URL('../examples/consumer.mjs', import.meta.url));
  const consume = async (expected, publish) => {
    const env = { ...process.env, GATEWAY: `ws://127.0.0.1:${gateway.public}/`, TOKEN: '42', DEBUG: '1' };
    const child = spawn(process.execPath, [consumer, 'user:42'], { cwd: folder, env });
    test.after(() => child.kill('SIGKILL'));
    const [out, err] = [[], []];
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => err.push(data));
    await eventually('the channel is subscribed', () => err.join('').includes('subscribed'));
    await publish();
    await eventually('all messages are printed', () => out.join('').split('\n').length === expected.length + 1);
    assert.deepEqual(
      out
        .join('')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).n),
      expected,
    );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    assert.equal(await deadline(ended, 'the process exits'), 0);
  };
  const publish = (n) => gateway.publish('user:42', { n });
  await consume([1], () => publish(1));
  await publish(2);
  await publish(3);
  await consume([2, 3, 4], () => publish(4));
});

/** A JSON Web Token (HS256). */
function token(secret, claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
