// A channel whose history the gateway cannot read at this moment: op 2 or 6 says `recovering`, and a later op 6 the rest.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';
const askedFor = (identify, channel = ROOM) => identify.channels.find((asked) => asked.channel === channel);
const subscribed = (position, more = {}) => ({ op: 6, channel: ROOM, state: 'subscribed', position, ...more });
const recovering = (more = {}) => ({ channel: ROOM, state: 'recovering', ...more });
const typesOf = (events) => events.map(({ type }) => type);

/** A client that wants room:7 and is told that it recovers; with `since`, what it has asked to continue from. */
async function inRecovery(since) {
  const world = start();
  const room = world.client.subscribe(ROOM, since ? { since } : {});
  const heard = [];
  room.on('event', (event) => heard.push(event));
  world.client.connect();
  const identify = await ready(world, [recovering(since ? { position: since } : {})]);
  return { world, room, heard, identify };
}

describe('a recovering channel', () => {
  it('with a position becomes recovered at the later op 6', async () => {
    const { world, room, heard, identify } = await inRecovery('5-1');
    assert.deepEqual(askedFor(identify), { channel: ROOM, since: '5-1' });
    assert.equal(world.client.state, 'connected');
    assert.deepEqual([room.state, room.position], ['recovering', '5-1']);
    assert.deepEqual(heard, [{ type: 'recovering', channel: ROOM }]);
    world.socket.receive(subscribed('5-1', { recovered: true }));
    assert.deepEqual([room.state, room.position], ['subscribed', '5-1']);
    world.socket.receive(message(ROOM, 2, '5-2'));
    world.socket.receive(message(ROOM, 3));
    assert.deepEqual(heard.slice(1), [
      { type: 'subscribed', channel: ROOM, position: '5-1' },
      { type: 'recovered', channel: ROOM, position: '5-1' },
      { type: 'message', channel: ROOM, message: { n: 2 }, position: '5-2' },
      { type: 'message', channel: ROOM, message: { n: 3 } },
    ]);
    assert.equal(room.position, '5-2');
  });

  it('with a position tells of a gap if it was not recovered', async () => {
    const { world, room, heard } = await inRecovery('5-1');
    let atGap;
    room.on('gap', () => (atGap = room.position));
    world.socket.receive(subscribed('9-4', { recovered: false }));
    assert.deepEqual(heard.slice(1), [
      { type: 'subscribed', channel: ROOM, position: '9-4' },
      { type: 'gap', channel: ROOM, reason: 'not_recovered', position: '9-4' },
    ]);
    assert.deepEqual([atGap, room.position], ['5-1', '9-4']);
  });

  it('without a position begins where the later op 6 says', async () => {
    const { world, room, heard, identify } = await inRecovery();
    assert.deepEqual(askedFor(identify), { channel: ROOM });
    assert.deepEqual([room.state, room.position], ['recovering', undefined]);
    world.socket.receive(subscribed('5-0'));
    assert.deepEqual([room.state, room.position], ['subscribed', '5-0']);
    assert.deepEqual(typesOf(heard), ['recovering', 'subscribed']);
  });

  it('delivers nothing before it is subscribed', async () => {
    const { world, room, heard } = await inRecovery('5-1');
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(typesOf(heard), ['recovering']);
    assert.equal(room.position, '5-1');
  });

  it('that is cut names the same position again', async () => {
    const { world, room, heard } = await inRecovery('5-1');
    assert.deepEqual(askedFor(await cut(world)), { channel: ROOM, since: '5-1' });
    assert.equal(room.state, 'pending');
    await ready(world, [recovering({ position: '5-1' })]);
    assert.deepEqual(askedFor(await cut(world)), { channel: ROOM, since: '5-1' });
    await ready(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.deepEqual(typesOf(heard), ['recovering', 'recovering', 'subscribed', 'recovered']);
  });

  it('that is cut and had no position names none', async () => {
    const { world } = await inRecovery();
    assert.deepEqual(askedFor(await cut(world)), { channel: ROOM });
  });

  it('can be unsubscribed, and is forgotten', async () => {
    const { world, room, heard } = await inRecovery('5-1');
    room.unsubscribe();
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(typesOf(heard), ['recovering']);
    assert.equal(askedFor(await cut(world)), undefined);
  });

  it('that is unsubscribed while op 6 is on its way stays unheard', async () => {
    const { world, room } = await inRecovery('5-1');
    room.unsubscribe();
    await settled();
    const again = world.client.subscribe(ROOM);
    const heard = [];
    again.on('event', (event) => heard.push(event));
    world.socket.receive(subscribed('5-1', { recovered: true }));
    world.socket.receive(message(ROOM, 2, '5-2'));
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(heard, []);
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '5-1' }]);
  });

  it('that nobody wants any more at Ready is unsubscribed', async () => {
    const world = start();
    const room = world.client.subscribe(ROOM);
    world.client.connect();
    world.client.on('state', ({ state }) => state === 'connected' && room.unsubscribe());
    await ready(world, [recovering()]);
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    assert.ok(!world.events.some(({ channel }) => channel === ROOM));
  });

  it('is left and asked for again to begin at another position', async () => {
    const { world, room } = await inRecovery('5-1');
    room.unsubscribe();
    world.client.subscribe(ROOM, { since: '4-4' });
    await settled();
    assert.equal(world.socket.ops(5).length, 1);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '4-4' }]);
  });

  it('says so to each later subscription', async () => {
    const { world } = await inRecovery('5-1');
    const late = world.client.subscribe(ROOM);
    const heard = [];
    late.on('event', (event) => heard.push(event));
    await settled();
    assert.equal(late.state, 'recovering');
    world.socket.receive(subscribed('5-1', { recovered: true }));
    assert.deepEqual(typesOf(heard), ['recovering', 'subscribed', 'recovered']);
  });

  it('can be taken away by a new token', async () => {
    const { world, room, heard } = await inRecovery('5-1');
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed', reason: 'not_allowed' });
    assert.equal(room.state, 'refused');
    assert.deepEqual(heard.at(-1), { type: 'refused', channel: ROOM, reason: 'not_allowed' });
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

  it('are heard from the later op 6 on', async () => {
    const world = await own();
    world.socket.receive({ op: 6, channel: OWN, state: 'subscribed', position: '7-0' });
    world.socket.receive(message(OWN, 1, '7-1'));
    const heard = world.events.filter(({ channel }) => channel === OWN);
    assert.deepEqual(typesOf(heard), ['recovering', 'subscribed', 'message']);
    assert.deepEqual(askedFor(await cut(world), OWN), { channel: OWN, since: '7-1' });
  });

  it('keep a position that the app gives, and are not left for it', async () => {
    const world = await own();
    const heard = [];
    const subscription = world.client.subscribe(OWN, { since: '7-0' });
    subscription.on('event', (event) => heard.push(event));
    await settled();
    assert.equal(world.socket.ops(5).length, 0);
    assert.equal(subscription.state, 'recovering');
    // The gateway was not given the position on this socket.
    world.socket.receive({ op: 6, channel: OWN, state: 'subscribed', position: '7-5' });
    world.socket.receive(message(OWN, 6, '7-6'));
    assert.deepEqual(typesOf(heard), ['recovering', 'subscribed', 'gap', 'message']);
    assert.equal(subscription.position, '7-6');
  });

  it('name a position that the app gave on the next socket', async () => {
    const world = await own();
    world.client.subscribe(OWN, { since: '7-0' });
    assert.deepEqual(askedFor(await cut(world), OWN), { channel: OWN, since: '7-0' });
  });
});

describe('Subscribe', () => {
  it('may be answered by recovering first, and by subscribed later', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM, { since: '5-1' });
    const heard = [];
    room.on('event', (event) => heard.push(event));
    await settled();
    world.socket.receive({ op: 6, ...recovering({ position: '5-1' }) });
    assert.deepEqual([room.state, room.position], ['recovering', '5-1']);
    await settled();
    world.socket.receive(subscribed('5-1', { recovered: true }));
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(typesOf(heard), ['recovering', 'subscribed', 'recovered', 'message']);
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
      assert.deepEqual(askedFor(await cut(world)), { channel: ROOM, since: '5-1' });
    });
  }
});
