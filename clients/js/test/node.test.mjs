// The library in Node, against real gateways, through a proxy that cuts its connections.
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
import { assertOnceAndInOrder, CHANNELS, publishThroughCuts, reaches } from './support/story.mjs';

const CUTS = Number(process.env.CUTS ?? 200);
const SEED = Number(process.env.SEED ?? 42);
/** Waits are short so that many cuts fit into a test. */
const FAST = { baseMs: 5, maxMs: 50, stableMs: 1 };

function connect(test, options) {
  const client = new GatewayClient({ token: '42', WebSocket, backoff: FAST, ...options });
  test.after(() => client.close());
  return client;
}

/** What a client hears on all channels, by callbacks. */
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
  // A silent connection is found by the heartbeat of every 45 s; an app that is seen again asks at once.
  proxy.onSilence = () => client.wake();
  client.subscribe('room:7');
  const heard = record(client);
  const iterated = Object.fromEntries(CHANNELS.map((channel) => [channel, []]));
  const loop = (async () => {
    for await (const { type, channel, message } of client) if (type === 'message') iterated[channel].push(message.n);
  })();
  client.connect();
  await reaches(client, 'connected');
  const { count } = heard;
  const published = await publishThroughCuts({ gateways, proxy, count, cuts: CUTS });
  assertOnceAndInOrder(heard.received, published, heard.gaps);
  client.close();
  await deadline(loop, 'the iteration ends');
  assertOnceAndInOrder(iterated, published, []);
  assert.ok(proxy.cutsMade >= CUTS);
  const total = Object.values(published).reduce((sum, each) => sum + each);
  const cuts = JSON.stringify(proxy.cuts);
  test.diagnostic(`${total} durable messages, cuts ${cuts}, ${heard.recoveries()} times a channel was recovered`);
}

it(`gives every durable message once and in order over ${CUTS} cuts, in memory`, async (test) => {
  await survivesCuts(test, [await startGateway(test)]);
});

it(`gives every durable message once and in order over ${CUTS} cuts, with two replicas on Redis`, async (test) => {
  const url = await startRedis(test);
  const settings = { 'broker.url': url };
  await survivesCuts(test, await Promise.all([startGateway(test, settings), startGateway(test, settings)]));
});

it('comes back to another replica after a drain, when it was told to, and misses nothing', async (test) => {
  const settings = { 'broker.url': await startRedis(test), 'drain.delay': '0s', 'drain.window': '0s' };
  const [leaving, staying] = await Promise.all([startGateway(test, settings), startGateway(test, settings)]);
  const proxy = await FaultProxy.start(test, [leaving.public]);
  const client = connect(test, { url: proxy.url });
  client.subscribe('room:7');
  const { received, gaps, count } = record(client);
  client.connect();
  await reaches(client, 'connected');
  await leaving.publish('room:7', { n: 1 });
  await eventually('the first arrives', () => count('room:7') === 1);
  proxy.ports = [staying.public];
  leaving.child.kill('SIGTERM');
  const waiting = await reaches(client, 'waiting');
  assert.equal(waiting.code, 1012);
  assert.ok(waiting.retryInMs > 50, 'as long as op 7 says (200 to 3000), not the 5 ms of the back-off');
  await staying.publish('room:7', { n: 2 });
  await reaches(client, 'connected');
  await eventually('the second arrives', () => count('room:7') === 2);
  assert.deepEqual(received['room:7'], [1, 2]);
  assert.deepEqual(gaps, []);
});

it('says that there is a gap when the history is gone', async (test) => {
  const first = await startGateway(test);
  const proxy = await FaultProxy.start(test, [first.public]);
  const client = connect(test, { url: proxy.url });
  client.subscribe('room:7');
  const { received, gaps, count } = record(client);
  client.connect();
  await reaches(client, 'connected');
  await first.publish('room:7', { n: 1 });
  await eventually('the first arrives', () => count('room:7') === 1);
  // What is in memory is gone with the process.
  const second = await startGateway(test);
  proxy.ports = [second.public];
  first.child.kill('SIGKILL');
  await eventually('the gap is told', () => gaps.some(({ channel }) => channel === 'room:7'));
  assert.equal(gaps.find(({ channel }) => channel === 'room:7').reason, 'not_recovered');
  await second.publish('room:7', { n: 2 });
  await eventually('the second arrives', () => count('room:7') === 2);
  assert.deepEqual(received['room:7'], [1, 2]);
});

it('continues where an earlier process ended', async (test) => {
  const gateway = await startGateway(test);
  const url = `ws://127.0.0.1:${gateway.public}/`;
  const visit = async (since) => {
    const client = connect(test, { url });
    const room = client.subscribe('room:7', since ? { since } : {});
    const numbers = [];
    room.on('message', ({ message }) => numbers.push(message.n));
    client.connect();
    await eventually('it is subscribed', () => room.state === 'subscribed');
    await gateway.publish('room:7', { n: numbers.length });
    return { client, room, numbers };
  };
  const first = await visit();
  await eventually('the first arrives', () => first.numbers.length === 1);
  const { position } = first.room;
  first.client.close();
  for (const n of [10, 11]) await gateway.publish('room:7', { n });
  const second = await visit(position);
  await eventually('the rest arrives', () => second.numbers.length === 3);
  assert.deepEqual(second.numbers.slice(0, 2), [10, 11]);
});

it('keeps a session alive over the expiry of its token, and comes back when it cannot', async (test) => {
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
  await eventually('one is refreshed', () => refreshed.includes('refresh'));
  await eventually('the other is back', () => expired.includes('expired') && lost.state === 'connected');
  // The answer to a heartbeat that is sent now comes after the answer to the refresh.
  const answered = new Promise((resolve) => kept.on('latency', resolve));
  kept.wake();
  await deadline(answered, 'it still answers');
  assert.deepEqual(states, ['connecting', 'connected']);
  assert.deepEqual(failures, []);
  assert.equal(codes[0], 4009);
});

it('ends with a token that is refused', async (test) => {
  const secret = 'a secret of at least thirty-two bytes';
  const gateway = await startGateway(test, { 'auth.kind': 'jwt', 'auth.secret': secret });
  const client = connect(test, { url: `ws://127.0.0.1:${gateway.public}/`, token: () => 'nobody' });
  client.connect();
  const closed = await reaches(client, 'closed');
  assert.equal(closed.code, 4003);
});

it('says why it cannot connect', async (test) => {
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

it('knows how far away the gateway is, and asks for channels in between', async (test) => {
  const gateway = await startGateway(test);
  const client = connect(test, { url: `ws://127.0.0.1:${gateway.public}/` });
  client.connect();
  await eventually('the latency is known', () => client.latencyMs !== undefined);
  const room = client.subscribe('room:8');
  const secret = client.subscribe('secret:1');
  await eventually('it is subscribed', () => room.state === 'subscribed');
  await eventually('it is refused', () => secret.state === 'refused');
  const heard = [];
  room.on('message', (event) => heard.push(event));
  await gateway.publish('room:8', { n: 1 }, false);
  await eventually('it arrives', () => heard.length === 1);
  assert.deepEqual(heard, [{ type: 'message', channel: 'room:8', message: { n: 1 } }]);
});

it('runs the consumer of the examples, which goes on where it was after a restart', async (test) => {
  const gateway = await startGateway(test);
  const folder = mkdtempSync(join(tmpdir(), 'gateway-consumer-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const consumer = fileURLToPath(new URL('../examples/consumer.mjs', import.meta.url));
  const consume = async (wanted, publish) => {
    const env = { ...process.env, GATEWAY: `ws://127.0.0.1:${gateway.public}/`, TOKEN: '42', DEBUG: '1' };
    const child = spawn(process.execPath, [consumer, 'user:42'], { cwd: folder, env });
    test.after(() => child.kill('SIGKILL'));
    const [out, err] = [[], []];
    child.stdout.on('data', (data) => out.push(data));
    child.stderr.on('data', (data) => err.push(data));
    await eventually('it is subscribed', () => err.join('').includes('subscribed'));
    await publish();
    await eventually('it has printed all', () => out.join('').split('\n').length === wanted.length + 1);
    assert.deepEqual(
      out
        .join('')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).n),
      wanted,
    );
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    assert.equal(await deadline(ended, 'it ends'), 0);
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
