// Subscriptions of one turn are one message, and wait for the budget of messages.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LIMITS, message, ready, settled, start } from './support/fake.mjs';

const subscribes = (world) => world.socket.sent.filter(({ op }) => op === 4).map(({ channels }) => channels);
const names = (...numbers) => numbers.map((n) => ({ channel: `room:${n}` }));

/** A connected client that may send `perMinute` messages. It uses 80 %, and has sent Identify and a heartbeat. */
async function connected(perMinute = LIMITS.messages_per_minute) {
  const world = start();
  world.client.connect();
  await ready(world, [], { limits: { ...LIMITS, messages_per_minute: perMinute } });
  return world;
}

/** Passes time on a gateway that answers heartbeats. */
async function pass(world, ms) {
  for (let left = ms; left > 0; left -= 5_000) {
    world.socket.receive({ op: 11 });
    await world.clock.pass(Math.min(left, 5_000));
  }
}

/** A client whose budget is used up, and which has subscribed to room:1 to room:3. */
async function overBudget() {
  const world = await connected(5);
  for (const n of [0, 9]) {
    world.client.subscribe(`room:${n}`);
    await settled();
  }
  assert.equal(subscribes(world).length, 2);
  const rooms = [1, 2, 3].map((n) => world.client.subscribe(`room:${n}`));
  const received = [];
  rooms[0].on('event', (event) => received.push(event));
  await settled();
  return { world, rooms, received };
}

describe('subscriptions of one turn', () => {
  it('are one message', async () => {
    const world = await connected();
    for (const n of [1, 2, 3]) world.client.subscribe(`room:${n}`);
    assert.deepEqual(subscribes(world), [], 'not before the turn has ended');
    await settled();
    assert.deepEqual(subscribes(world), [names(1, 2, 3)]);
    world.client.subscribe('room:4');
    await settled();
    assert.deepEqual(subscribes(world), [names(1, 2, 3), names(4)]);
  });

  it('that end in it are not sent', async () => {
    const world = await connected();
    world.client.subscribe('room:1').unsubscribe();
    world.client.subscribe('room:2');
    await settled();
    assert.deepEqual(subscribes(world), [names(2)]);
    assert.equal(world.socket.ops(5).length, 0);
  });
});

describe('a subscription above the budget', () => {
  it('is pending with a reason, once, and then sent with the others', async () => {
    const { world, rooms, received } = await overBudget();
    assert.equal(subscribes(world).length, 2);
    const { retryInMs, ...pending } = received[0];
    assert.deepEqual(pending, { type: 'pending', channel: 'room:1', reason: 'rate_limited' });
    assert.ok(retryInMs > 0 && retryInMs <= 60_000, `${retryInMs} ms`);
    world.client.subscribe('room:4');
    await settled();
    assert.equal(received.length, 1, 'another subscription repeats no event');
    assert.equal(rooms[0].state, 'pending');
    await pass(world, retryInMs);
    assert.deepEqual(subscribes(world)[2], names(1, 2, 3, 4));
    world.socket.receive({ op: 6, channel: 'room:1', state: 'subscribed', position: '5-0' });
    assert.deepEqual(received.slice(1), [{ type: 'subscribed', channel: 'room:1', position: '5-0' }]);
    world.socket.receive(message('room:1', 1));
    assert.deepEqual([rooms[0].state, received.at(-1).type], ['subscribed', 'message']);
  });

  it('tells a later subscription of the channel while it waits', async () => {
    const { world, received } = await overBudget();
    const types = [];
    world.client.subscribe('room:1').on('event', ({ type }) => types.push(type));
    await settled();
    assert.deepEqual(types, ['pending']);
    await pass(world, received[0].retryInMs);
    world.client.subscribe('room:1').on('event', ({ type }) => types.push(`later ${type}`));
    await settled();
    assert.deepEqual(types, ['pending'], 'it was sent, and waits for the answer');
  });

  it('tells nothing after disconnect(), and goes with the next Identify', async () => {
    const { world, received } = await overBudget();
    world.client.disconnect();
    assert.equal(world.clock.timers, 0);
    world.client.connect();
    const { channels } = await ready(world);
    assert.ok(channels.some(({ channel }) => channel === 'room:1'));
    assert.deepEqual(
      received.map(({ type }) => type),
      ['pending'],
    );
  });
});
