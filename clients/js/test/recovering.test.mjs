// A channel whose history the gateway cannot read yet: op 2 or 6 reports `recovering`, and a later op 6 completes it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';
const requested = (identify, channel = ROOM) => identify.channels.find((entry) => entry.channel === channel);
const subscribed = (position, more = {}) => ({ op: 6, channel: ROOM, state: 'subscribed', position, ...more });
const recovering = (more = {}) => ({ channel: ROOM, state: 'recovering', ...more });
const typesOf = (events) => events.map(({ type }) => type);

/** A client that subscribes to room:7, which is recovering; `since` is the position to resume from. */
async function inRecovery(since) {
  const world = start();
  const room = world.client.subscribe(ROOM, since ? { since } : {});
  const received = [];
  room.on('event', (event) => received.push(event));
  world.client.connect();
  const identify = await ready(world, [recovering(since ? { position: since } : {})]);
  return { world, room, received, identify };
}

describe('a recovering channel', () => {
  it('with a position is recovered by the later op 6', async () => {
    const { world, room, received, identify } = await inRecovery('5-1');
    assert.deepEqual(requested(identify), { channel: ROOM, since: '5-1' });
    assert.equal(world.client.state, 'connected');
    assert.deepEqual([room.state, room.position], ['recovering', '5-1']);
    assert.deepEqual(received, [{ type: 'recovering', channel: ROOM }]);
    world.socket.receive(subscribed('5-1', { recovered: true }));
    assert.deepEqual([room.state, room.position], ['subscribed', '5-1']);
    world.socket.receive(message(ROOM, 2, '5-2'));
    world.socket.receive(message(ROOM, 3));
    assert.deepEqual(received.slice(1), [
      { type: 'subscribed', channel: ROOM, position: '5-1' },
      { type: 'recovered', channel: ROOM, position: '5-1' },
      { type: 'message', channel: ROOM, message: { n: 2 }, position: '5-2' },
      { type: 'message', channel: ROOM, message: { n: 3 } },
    ]);
    assert.equal(room.position, '5-2');
  });

  it('with a position reports a gap if it was not recovered', async () => {
    const { world, room, received } = await inRecovery('5-1');
    let atGap;
    room.on('gap', () => (atGap = room.position));
    world.socket.receive(subscribed('9-4', { recovered: false }));
    assert.deepEqual(received.slice(1), [
      { type: 'subscribed', channel: ROOM, position: '9-4' },
      { type: 'gap', channel: ROOM, reason: 'not_recovered', position: '9-4' },
    ]);
    assert.deepEqual([atGap, room.position], ['5-1', '9-4']);
  });

  it('without a position begins at the later op 6', async () => {
    const { world, room, received, identify } = await inRecovery();
    assert.deepEqual(requested(identify), { channel: ROOM });
    assert.deepEqual([room.state, room.position], ['recovering', undefined]);
    world.socket.receive(subscribed('5-0'));
    assert.deepEqual([room.state, room.position], ['subscribed', '5-0']);
    assert.deepEqual(typesOf(received), ['recovering', 'subscribed']);
  });

  it('delivers nothing before it is subscribed', async () => {
    const { world, room, received } = await inRecovery('5-1');
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(typesOf(received), ['recovering']);
    assert.equal(room.position, '5-1');
  });

  it('sends the same position again after a cut', async () => {
    const { world, room, received } = await inRecovery('5-1');
    assert.deepEqual(requested(await cut(world)), { channel: ROOM, since: '5-1' });
    assert.equal(room.state, 'pending');
    await ready(world, [recovering({ position: '5-1' })]);
    assert.deepEqual(requested(await cut(world)), { channel: ROOM, since: '5-1' });
    await ready(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.deepEqual(typesOf(received), ['recovering', 'recovering', 'subscribed', 'recovered']);
  });

  it('without a position sends none after a cut', async () => {
    const { world } = await inRecovery();
    assert.deepEqual(requested(await cut(world)), { channel: ROOM });
  });

  it('can be unsubscribed', async () => {
    const { world, room, received } = await inRecovery('5-1');
    room.unsubscribe();
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(typesOf(received), ['recovering']);
    assert.equal(requested(await cut(world)), undefined);
  });

  it('delivers nothing after an Unsubscribe that crosses op 6', async () => {
    const { world, room } = await inRecovery('5-1');
    room.unsubscribe();
    await settled();
    const again = world.client.subscribe(ROOM);
    const received = [];
    again.on('event', (event) => received.push(event));
    world.socket.receive(subscribed('5-1', { recovered: true }));
    world.socket.receive(message(ROOM, 2, '5-2'));
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(received, []);
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '5-1' }]);
  });

  it('without a subscription at Ready is unsubscribed', async () => {
    const world = start();
    const room = world.client.subscribe(ROOM);
    world.client.connect();
    world.client.on('state', ({ state }) => state === 'connected' && room.unsubscribe());
    await ready(world, [recovering()]);
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    assert.ok(!world.events.some(({ channel }) => channel === ROOM));
  });

  it('is resubscribed to begin at another position', async () => {
    const { world, room } = await inRecovery('5-1');
    room.unsubscribe();
    world.client.subscribe(ROOM, { since: '4-4' });
    await settled();
    assert.equal(world.socket.ops(5).length, 1);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '4-4' }]);
  });

  it('is reported to each later subscription', async () => {
    const { world } = await inRecovery('5-1');
    const late = world.client.subscribe(ROOM);
    const received = [];
    late.on('event', (event) => received.push(event));
    await settled();
    assert.equal(late.state, 'recovering');
    world.socket.receive(subscribed('5-1', { recovered: true }));
    assert.deepEqual(typesOf(received), ['recovering', 'subscribed', 'recovered']);
  });

  it('can be revoked by a new token', async () => {
    const { world, room, received } = await inRecovery('5-1');
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed', reason: 'not_allowed' });
    assert.equal(room.state, 'refused');
    assert.deepEqual(received.at(-1), { type: 'refused', channel: ROOM, reason: 'not_allowed' });
  });
});

describe("the session's own recovering channels", () => {
  const OWN = 'user:42';
  const own = async () => {
    const world = start();
    world.client.connect();
    await ready(world, [{ channel: OWN, state: 'recovering' }]);
    return world;
  };

  it('deliver from the later op 6 on', async () => {
    const world = await own();
    world.socket.receive({ op: 6, channel: OWN, state: 'subscribed', position: '7-0' });
    world.socket.receive(message(OWN, 1, '7-1'));
    const received = world.events.filter(({ channel }) => channel === OWN);
    assert.deepEqual(typesOf(received), ['recovering', 'subscribed', 'message']);
    assert.deepEqual(requested(await cut(world), OWN), { channel: OWN, since: '7-1' });
  });

  it('keep a position that the app gives, without an Unsubscribe', async () => {
    const world = await own();
    const received = [];
    const subscription = world.client.subscribe(OWN, { since: '7-0' });
    subscription.on('event', (event) => received.push(event));
    await settled();
    assert.equal(world.socket.ops(5).length, 0);
    assert.equal(subscription.state, 'recovering');
    // The gateway does not know the position on this socket.
    world.socket.receive({ op: 6, channel: OWN, state: 'subscribed', position: '7-5' });
    world.socket.receive(message(OWN, 6, '7-6'));
    assert.deepEqual(typesOf(received), ['recovering', 'subscribed', 'gap', 'message']);
    assert.equal(subscription.position, '7-6');
  });

  it('send a position of the app on the next socket', async () => {
    const world = await own();
    world.client.subscribe(OWN, { since: '7-0' });
    assert.deepEqual(requested(await cut(world), OWN), { channel: OWN, since: '7-0' });
  });
});

describe('Subscribe', () => {
  it('may be answered by recovering and later by subscribed', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM, { since: '5-1' });
    const received = [];
    room.on('event', (event) => received.push(event));
    await settled();
    world.socket.receive({ op: 6, ...recovering({ position: '5-1' }) });
    assert.deepEqual([room.state, room.position], ['recovering', '5-1']);
    await settled();
    world.socket.receive(subscribed('5-1', { recovered: true }));
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(typesOf(received), ['recovering', 'subscribed', 'recovered', 'message']);
    assert.equal(world.socket.ops(4).length, 1);
  });

  it('without a position may be answered by recovering as well', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM);
    await settled();
    world.socket.receive({ op: 6, ...recovering() });
    assert.deepEqual([room.state, room.position], ['recovering', undefined]);
    world.socket.receive(subscribed('5-0'));
    assert.deepEqual([room.state, room.position], ['subscribed', '5-0']);
    assert.ok(!world.events.some(({ type }) => type === 'gap' || type === 'recovered'));
  });

  for (const isRecovering of [false, true]) {
    it(`is refused as unavailable ${isRecovering ? 'while recovering' : 'at once'}`, async () => {
      const world = start();
      world.client.connect();
      await ready(world);
      const room = world.client.subscribe(ROOM, { since: '5-1' });
      await settled();
      if (isRecovering) world.socket.receive({ op: 6, ...recovering({ position: '5-1' }) });
      world.socket.receive({ op: 6, channel: ROOM, state: 'refused', reason: 'unavailable' });
      assert.equal(room.state, 'refused');
      assert.deepEqual(world.events.at(-1), { type: 'refused', channel: ROOM, reason: 'unavailable' });
      await settled();
      assert.equal(world.socket.ops(4).length, 1);
      assert.deepEqual(requested(await cut(world)), { channel: ROOM, since: '5-1' });
    });
  }
});
