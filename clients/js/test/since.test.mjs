// Subscribing again: inside listeners, at the app's own position, with other subscriptions, and after a temporary
// refusal.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { BufferOverflow } from '../dist/index.js';
import { cut, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';
const subscribed = (position, more = {}) => ({ op: 6, channel: ROOM, state: 'subscribed', position, ...more });

async function inRoom(options) {
  const world = start(options);
  const room = world.client.subscribe(ROOM);
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  return { world, room };
}

/** Calls `again` at the first message to subscribe again, and records later events. */
async function againInside(again) {
  const { world, room } = await inRoom();
  const received = [];
  const more = {};
  room.on('message', ({ position }) => {
    room.unsubscribe();
    more.room = world.client.subscribe(ROOM, again(position));
    more.room.on('event', (event) => received.push(event.type === 'message' ? event.message.n : event.type));
  });
  world.socket.receive(message(ROOM, 1, '5-1'));
  await settled();
  return { world, received, ...more };
}

describe('subscribing again inside a listener', () => {
  it('at an earlier position repeats that message', async () => {
    for (const since of ['5-0', '4-4']) {
      const { world, received, room } = await againInside(() => ({ since }));
      assert.equal(room.position, since, 'the current message does not move the position');
      assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
      world.socket.receive(message(ROOM, 2, '5-2'));
      world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
      await settled();
      assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since }]);
      world.socket.receive(subscribed(since, { recovered: true }));
      for (const n of [1, 2]) world.socket.receive(message(ROOM, n, `5-${n}`));
      assert.deepEqual(received, ['subscribed', 'recovered', 1, 2]);
    }
  });

  it('at the position of that message continues without a request', async () => {
    const { world, received } = await againInside((position) => ({ since: position }));
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(received, ['subscribed', 2]);
    assert.deepEqual(
      (await cut(world)).channels.find(({ channel }) => channel === ROOM),
      { channel: ROOM, since: '5-2' },
    );
  });

  it('without a position continues after that message', async () => {
    const { world, received, room } = await againInside(() => ({}));
    assert.equal(room.position, '5-1');
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(received, ['subscribed', 2]);
  });

  it('at another event loses nothing', async () => {
    for (const type of ['subscribed', 'recovered', 'gap']) {
      const { world, room } = await inRoom();
      const received = [];
      let isAgain = false;
      world.client.on(type, ({ channel }) => {
        if (isAgain || channel !== ROOM) return;
        isAgain = true;
        room.unsubscribe();
        world.client.subscribe(ROOM, { since: '4-0' }).on('message', (event) => received.push(event.message.n));
      });
      await cut(world);
      world.socket.receive({ op: 2, user: '42', channels: [{ channel: ROOM, position: '9-0', recovered: type !== 'gap' }] });
      world.socket.receive(message(ROOM, 9, '9-9'));
      await settled();
      assert.deepEqual(received, [], 'the messages of the earlier subscription are not delivered');
      world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
      await settled();
      assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '4-0' }], type);
      world.socket.receive(subscribed('4-0', { recovered: true }));
      world.socket.receive(message(ROOM, 4, '4-4'));
      assert.deepEqual(received, [4]);
    }
  });

  it('gets the state of the channel first', async () => {
    const { world } = await inRoom();
    const received = [];
    let late;
    world.client.on('message', () => {
      late ??= world.client.subscribe(ROOM);
      late.on('event', ({ type }) => received.push(type));
    });
    world.socket.receive(message(ROOM, 1));
    world.socket.receive({ op: 8, channel: ROOM, reason: 'link_lost' });
    await settled();
    assert.deepEqual(received, ['subscribed', 'gap']);
  });
});

describe('a second subscription with a position', () => {
  it('is used if no other subscription has one', async () => {
    const world = start();
    world.client.subscribe(ROOM);
    const other = world.client.subscribe(ROOM, { since: '4-0' });
    world.client.connect();
    const identify = await ready(world, [{ channel: ROOM, position: '4-0', recovered: true }]);
    assert.deepEqual(identify.channels, [{ channel: ROOM, since: '4-0' }]);
    assert.equal(other.state, 'subscribed');
  });

  it('is used while the first is pending, with a new request', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.client.subscribe(ROOM);
    await settled();
    const other = world.client.subscribe(ROOM, { since: '4-0' });
    world.socket.receive(subscribed('5-0'));
    await settled();
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(world.socket.ops(4).at(-1), { op: 4, channel: ROOM, since: '4-0' });
    world.socket.receive(subscribed('4-0', { recovered: true }));
    assert.equal(other.state, 'subscribed');
  });

  it('is accepted if the channel is at that position', async () => {
    const { world, room } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    const received = [];
    world.client.subscribe(ROOM, { since: '5-1' }).on('event', ({ type }) => received.push(type));
    await world.clock.pass(0);
    assert.deepEqual([received, room.position], [['subscribed'], '5-1']);
  });

  it('is refused otherwise, without a false gap', async () => {
    const { world } = await inRoom();
    for (const channel of [ROOM, 'user:42', 'all']) {
      const received = [];
      const other = world.client.subscribe(channel, { since: '4-0' });
      other.on('event', ({ type, reason }) => received.push(reason ?? type));
      await world.clock.pass(0);
      assert.deepEqual([received, other.state], [['since_conflict'], 'refused'], channel);
    }
    assert.equal(world.client.state, 'connected');
    assert.ok(world.events.every(({ type }) => type !== 'refused'), 'the channel itself is not refused');
  });
});

/** The program in the README. */
function readmeProgram(client, save) {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const [, program] = /```js\nimport \{ BufferOverflow \}[^\n]*\n(.*?)```/s.exec(readme);
  return new Function('client', 'save', 'BufferOverflow', `${program}; return read;`)(client, save, BufferOverflow);
}

it('continues after a BufferOverflow as in the README', async () => {
  const world = start({ bufferSize: 3 });
  const numbers = [];
  const read = readmeProgram(world.client, ({ n }) => numbers.push(n));
  void read('5-0');
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0', recovered: true }]);
  for (let n = 1; n <= 9; n++) world.socket.receive(message(ROOM, n, `5-${n}`));
  for (let turn = 0; turn < 5; turn++) {
    await settled();
    if (world.socket.ops(5).length <= turn) break;
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    const { since } = world.socket.ops(4).at(-1);
    world.socket.receive(subscribed(since, { recovered: true }));
    await settled();
    const from = Number(since.split('-')[1]);
    // The rest arrives as fast as it is read.
    for (let n = from + 1; n <= 9; n++) {
      world.socket.receive(message(ROOM, n, `5-${n}`));
      await settled();
    }
  }
  assert.ok(world.socket.ops(5).length > 0, 'the buffer has overflowed');
  assert.deepEqual(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  world.client.close();
});

describe('a channel that is unavailable', () => {
  const unavailable = { op: 6, channel: ROOM, state: 'refused', reason: 'unavailable' };

  it('is retried with back-off and reported once', async () => {
    const world = start();
    world.setRandom(1);
    const room = world.client.subscribe(ROOM, { since: '5-1' });
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 11 });
    const waits = [];
    for (let turn = 1; turn <= 7; turn++) {
      world.socket.receive(unavailable);
      const from = world.clock.time;
      for (let second = 0; world.socket.ops(4).length < turn && second < 60; second++) {
        await world.clock.pass(1_000);
        world.socket.receive({ op: 11 });
      }
      waits.push(world.clock.time - from);
    }
    assert.deepEqual(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    assert.deepEqual(world.socket.ops(4).at(-1), { op: 4, channel: ROOM, since: '5-1' });
    assert.equal(room.state, 'refused');
    assert.equal(world.events.filter(({ type }) => type === 'refused').length, 1);
    world.socket.receive(subscribed('5-1', { recovered: true }));
    assert.equal(room.state, 'subscribed');
  });

  it('is never retried at once, whatever the random value', async () => {
    const world = start();
    world.setRandom(0);
    world.client.subscribe(ROOM);
    world.client.connect();
    await ready(world);
    world.socket.receive(unavailable);
    await world.clock.pass(499);
    assert.equal(world.socket.ops(4).length, 0);
    await world.clock.pass(1);
    assert.equal(world.socket.ops(4).length, 1);
  });

  it('is not retried after an Unsubscribe or if not allowed', async () => {
    const world = start();
    const room = world.client.subscribe(ROOM);
    world.client.subscribe('secret:1');
    world.client.connect();
    await ready(world);
    world.socket.receive(unavailable);
    world.socket.receive({ op: 6, channel: 'secret:1', state: 'refused', reason: 'not_allowed' });
    room.unsubscribe();
    await world.clock.pass(9_000);
    assert.equal(world.socket.ops(4).length, 0);
  });
});
