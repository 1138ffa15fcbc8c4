// Messages, signals and history with a real gateway behind a proxy that cuts connections.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import WebSocket from 'ws';
import { GatewayClient } from '../dist/index.js';
import { allHistory, history, queued, send, signal } from '../dist/messages.js';
import { eventually } from './support/deadline.mjs';
import { startRedis } from './support/gateway.mjs';
import { deleteInbox, inboxOf, startChatGateway } from './support/inbox.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { reaches } from './support/publishing.mjs';

const CUTS = Number(process.env.CUTS ?? 200) / 2;
const SEED = Number(process.env.SEED ?? 42);
const ROOM = 'room:7';

function connect(test, url, token = '42') {
  const client = new GatewayClient({ url, token, WebSocket, backoff: { baseMs: 5, maxMs: 50, stableMs: 1 } });
  test.after(() => client.close());
  client.connect();
  return client;
}

const urlOf = (gateway) => `ws://127.0.0.1:${gateway.public}/`;

/** Sends numbered messages while the connection is cut; each acknowledged one is in the inbox once, in order. */
async function survivesCuts(test, gateways) {
  const ports = gateways.map((gateway) => gateway.public);
  const proxy = await FaultProxy.start(test, ports, { seed: SEED, maxBytes: 3_000, isBothWays: true });
  const client = connect(test, proxy.url);
  await reaches(client, 'connected');
  proxy.cutsLeft = CUTS;
  proxy.cutAll();
  const acknowledged = [];
  const sending = [];
  for (let n = 1; proxy.cutsMade < CUTS; n++) {
    sending.push(send(client, ROOM, { n, pad: 'x'.repeat(n % 200) }).then(() => acknowledged.push(n)));
    if (queued(client) >= 20) await Promise.race(sending.slice(acknowledged.length));
  }
  await Promise.all(sending);
  const expected = sending.map((_, index) => index + 1);
  assert.deepEqual(acknowledged, expected);
  const inbox = await inboxOf(gateways[0]);
  assert.deepEqual(inbox.map(({ message }) => message.n), expected);
  test.diagnostic(`${expected.length} messages, cuts ${JSON.stringify(proxy.cuts)}`);
}

it(`acknowledges each message once over ${CUTS} cuts`, async (test) => {
  await survivesCuts(test, [await startChatGateway(test)]);
});

it(`acknowledges each message once over ${CUTS} cuts, with two replicas on Redis`, async (test) => {
  const settings = { 'broker.url': await startRedis(test) };
  await survivesCuts(test, [await startChatGateway(test, settings), await startChatGateway(test, settings)]);
});

it('waits while the inbox is full, and is told what is refused', async (test) => {
  const gateway = await startChatGateway(test, { 'inbox.max_entries': 2, 'inbox.max_message_bytes': 1_024 });
  const client = connect(test, urlOf(gateway));
  const sending = [1, 2, 3].map((n) => send(client, ROOM, n));
  await Promise.all(sending.slice(0, 2));
  const full = await inboxOf(gateway);
  assert.deepEqual(full.map(({ message }) => message), [1, 2]);
  await deleteInbox(gateway, full.at(-1).entry);
  const id = await sending[2];
  assert.deepEqual((await inboxOf(gateway)).map((entry) => entry.id), [id]);
  await assert.rejects(send(client, ROOM, 'x'.repeat(1_024)), { code: 'too_big' });
  await assert.rejects(send(client, 'hall:1', 1), { code: 'not_allowed' });
  // Longer than a message of a session may be: the gateway closes the socket, and the next message is sent.
  await assert.rejects(send(client, ROOM, 'x'.repeat(200_000)), { code: 'too_big' });
  assert.equal(await send(client, ROOM, 3, { id }), id);
});

it('brings signals to the other sessions, the newest in each interval', async (test) => {
  const gateway = await startChatGateway(test);
  const [ada, bob] = ['ada', 'bob'].map((user) => connect(test, urlOf(gateway), user));
  const rooms = [ada, bob].map((client) => client.subscribe(ROOM));
  const heard = [[], []];
  rooms.forEach((room, n) => room.on('signal', ({ user, signal: value }) => heard[n].push([user, value])));
  for (const room of rooms) await eventually('the room is subscribed', () => room.state === 'subscribed');
  for (let n = 1; n <= 5; n++) signal(ada, ROOM, { n });
  await eventually('the newest signal arrives', () => heard[1].length === 2);
  assert.deepEqual(heard, [[], [['ada', { n: 1 }], ['ada', { n: 5 }]]]);
  const refused = [];
  ada.on('error', ({ where }) => refused.push(where));
  signal(ada, 'room:8', 1);
  await eventually('it is refused', () => refused.length === 1);
  assert.deepEqual(refused, ['not_allowed']);
});

it('begins with the last messages, and reads earlier ones by page', async (test) => {
  const gateway = await startChatGateway(test);
  const proxy = await FaultProxy.start(test, [gateway.public]);
  for (let n = 1; n <= 130; n++) await gateway.publish(ROOM, { n });
  const client = connect(test, proxy.url);
  const room = client.subscribe(ROOM, { last: 50 });
  let view = [];
  const fresh = [];
  room.on('subscribed', ({ last }) => {
    if (last === undefined) return;
    fresh.push(last);
    view = [];
  });
  room.on('message', ({ message, position }) => view.push({ position, message }));
  await eventually('the last messages arrive', () => view.length === 50);
  await gateway.publish(ROOM, { n: 131 });
  await eventually('the next one follows', () => view.length === 51);
  const pages = [];
  for await (const page of allHistory(client, ROOM, { before: view[0].position, limit: 40 })) pages.unshift(...page.messages);
  assert.deepEqual([...pages, ...view].map(({ message }) => message.n), Array.from({ length: 131 }, (_, n) => n + 1));
  const newest = await history(client, ROOM, { limit: 2 });
  assert.deepEqual([newest.messages, newest.more], [view.slice(-2), true]);
  // More than the history holds is missed.
  proxy.isDown = true;
  proxy.cutAll();
  for (let n = 132; n <= 400; n++) await gateway.publish(ROOM, { n });
  proxy.isDown = false;
  await eventually('a fresh view begins', () => fresh.length === 2 && view.length === 50);
  assert.deepEqual(fresh, [50, 50]);
  assert.deepEqual(view.map(({ message }) => message.n), Array.from({ length: 50 }, (_, n) => n + 351));
});

it('subscribes and unsubscribes many channels at once', async (test) => {
  const gateway = await startChatGateway(test, { 'limits.subscriptions_per_session': 300 });
  const client = connect(test, urlOf(gateway));
  await reaches(client, 'connected');
  const rooms = Array.from({ length: 300 }, (_, n) => client.subscribe(`room:${n}`));
  await eventually('all are subscribed', () => rooms.every(({ state }) => state === 'subscribed'));
  rooms.forEach((room) => room.unsubscribe());
  const again = Array.from({ length: 300 }, (_, n) => client.subscribe(`room:other-${n}`));
  await eventually('all others are subscribed', () => again.every(({ state }) => state === 'subscribed'));
});
