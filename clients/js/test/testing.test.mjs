// The gateway that an app's tests use.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { GatewayClient } from '../dist/index.js';
import { allHistory, send, signal } from '../dist/messages.js';
import { online, presence } from '../dist/presence.js';
import { FakeGateway } from '../dist/testing.js';
import { eventually } from './support/deadline.mjs';

const ROOM = 'room:7';

function begin(test, options, clientOptions) {
  const gateway = new FakeGateway(options);
  const open = () => {
    const client = new GatewayClient({
      url: 'ws://gateway.test/',
      token: '42',
      WebSocket: gateway.WebSocket,
      backoff: { baseMs: 1, maxMs: 2 },
      ...clientOptions,
    });
    test.after(() => client.close());
    const events = [];
    client.on('event', ({ type, channel, message }) => channel === ROOM && events.push(message ?? type));
    client.connect();
    return { client, events };
  };
  const { client, events } = open();
  return { gateway, client, events, open };
}

const reach = (client, state) => eventually(`the client is ${state}`, () => client.state === state);
const shows = (events, ...expected) =>
  eventually(`the events are ${expected}`, () => JSON.stringify(events) === JSON.stringify(expected));

it('delivers what was published while a client was away', async (test) => {
  const { gateway, client, events } = begin(test);
  client.subscribe(ROOM);
  await reach(client, 'connected');
  gateway.publish(ROOM, 1);
  await shows(events, 'subscribed', 1);
  gateway.isDown = true;
  gateway.cut();
  gateway.publish(ROOM, 2);
  gateway.isDown = false;
  await shows(events, 'subscribed', 1, 'subscribed', 'recovered', 2);
});

it('reports a gap after its history was lost', async (test) => {
  const { gateway, client, events } = begin(test);
  client.subscribe(ROOM);
  await reach(client, 'connected');
  gateway.publish(ROOM, 1);
  gateway.loseHistory(ROOM);
  gateway.cut();
  await eventually('there is a gap', () => events.includes('gap'));
  gateway.gap(ROOM);
  await eventually('there are two gaps', () => events.filter((one) => one === 'gap').length === 2);
});

it('refuses channels and tokens', async (test) => {
  const { gateway, client, events } = begin(test, { user: (token) => (token === '42' ? 'ada' : undefined) });
  gateway.refuse('room:9');
  const refused = client.subscribe('room:9');
  client.subscribe(ROOM);
  await eventually('the channel is refused', () => refused.state === 'refused');
  assert.deepEqual(events, ['subscribed']);
  const wrong = new GatewayClient({ url: 'ws://gateway.test/', token: 'no', WebSocket: gateway.WebSocket });
  wrong.connect();
  await reach(wrong, 'closed');
  gateway.refuse('room:9', null);
  client.refresh();
  await eventually('the channel is allowed', () => refused.state === 'subscribed');
});

it('counts no client that closed before it was connected', async () => {
  const gateway = new FakeGateway();
  const socket = new gateway.WebSocket('ws://gateway.test/');
  const closed = new Promise((resolve) => (socket.onclose = resolve));
  socket.close();
  await closed;
  assert.equal(gateway.connections, 0);
});

it('keeps messages for the backend once, and passes signals on', async (test) => {
  const { gateway, client, open } = begin(test);
  client.subscribe(ROOM);
  const other = open().client;
  const heard = [];
  other.subscribe(ROOM).on('signal', ({ user, signal: value }) => heard.push([user, value]));
  await reach(other, 'connected');
  await send(client, ROOM, { text: 'hi' }, { id: 'a' });
  await send(client, ROOM, { text: 'hi' }, { id: 'a' });
  assert.deepEqual(gateway.sent, [{ user: '42', id: 'a', channel: ROOM, message: { text: 'hi' } }]);
  signal(client, ROOM, 'typing');
  await shows(heard, ['42', 'typing']);
});

it('has presence and history', async (test) => {
  const { gateway, client } = begin(test);
  for (let n = 0; n < 120; n++) gateway.publish(ROOM, n);
  gateway.setOnline('ada', true);
  gateway.join(ROOM, 'ada');
  const ada = online(client, 'ada');
  const room = presence(client, ROOM);
  await eventually('ada is online', () => ada.state?.online === true);
  await eventually('the room has one member', () => room.count === 1);
  gateway.leave(ROOM, 'ada');
  await eventually('the room is empty', () => room.count === 0);
  client.subscribe(ROOM);
  const pages = [];
  for await (const { messages } of allHistory(client, ROOM)) pages.push(...messages);
  assert.equal(pages.length, 120);
});
