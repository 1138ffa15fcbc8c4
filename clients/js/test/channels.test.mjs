import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BufferOverflow } from '../dist/index.js';
import { cut, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';
const sinceOf = (identify, channel = ROOM) => identify.channels.find((requested) => requested.channel === channel)?.since;

/** A client on room:7 at 5-0. */
async function inRoom(options) {
  const world = start(options);
  const room = world.client.subscribe(ROOM);
  const received = [];
  room.on('event', (event) => received.push(event));
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  return { world, room, received };
}

function readyAgain(world, channels) {
  world.socket.receive({ op: 2, user: '42', session: '01', channels });
}

describe('the cursor', () => {
  it('begins at the position in Ready', async () => {
    const { world, room } = await inRoom();
    assert.equal(room.state, 'subscribed');
    assert.equal(room.position, '5-0');
    assert.equal(sinceOf(await cut(world)), '5-0');
  });

  it('moves with each durable message, and not with a plain one', async () => {
    const { world, room } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive(message(ROOM, 2));
    assert.equal(room.position, '5-1');
    assert.equal(sinceOf(await cut(world)), '5-1');
  });

  it('moves after the listeners of the message have run', async () => {
    const { world, room } = await inRoom();
    const seen = [];
    room.on('message', ({ position }) => seen.push([position, room.position]));
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(seen, [
      ['5-1', '5-0'],
      ['5-2', '5-1'],
    ]);
  });

  it('stays after a recovery and moves with each recovered message', async () => {
    const { world, room, received } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    await cut(world);
    received.length = 0;
    readyAgain(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.equal(room.position, '5-1');
    world.socket.receive(message(ROOM, 2, '5-2'));
    // After a cut during recovery, the next recovery begins at the last received message.
    assert.equal(sinceOf(await cut(world)), '5-2');
    assert.deepEqual(
      received.map(({ type }) => type),
      ['subscribed', 'recovered', 'message'],
    );
  });

  it('moves past missing messages only after the gap event', async () => {
    const { world, room, received } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    await cut(world);
    received.length = 0;
    let atGap;
    room.on('gap', () => (atGap = room.position));
    readyAgain(world, [{ channel: ROOM, position: '9-4', recovered: false }]);
    assert.deepEqual(received, [
      { type: 'subscribed', channel: ROOM, position: '9-4' },
      { type: 'gap', channel: ROOM, reason: 'not_recovered', position: '9-4' },
    ]);
    assert.equal(atGap, '5-1');
    assert.equal(room.position, '9-4');
  });

  it('reports a gap if the gateway omits `recovered`', async () => {
    const { world, received } = await inRoom();
    await cut(world);
    readyAgain(world, [{ channel: ROOM, position: '5-9' }]);
    assert.equal(received.at(-1).type, 'gap');
  });

  it('survives a socket that ends before Ready', async () => {
    const { world } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    assert.equal(sinceOf(await cut(world)), '5-1');
    assert.equal(sinceOf(await cut(world)), '5-1');
  });

  it("is kept for the session's own channels without a subscription", async () => {
    const { world } = await inRoom();
    world.socket.receive(message('user:42', 1, '7-1'));
    const identify = await cut(world);
    assert.equal(sinceOf(identify, 'user:42'), '7-1');
    assert.equal(sinceOf(identify, 'all'), '1-0');
    assert.deepEqual(world.events.at(-1), { type: 'message', channel: 'user:42', message: { n: 1 }, position: '7-1' });
  });

  it('begins at the position that the app gives', async () => {
    const world = start();
    world.client.subscribe(ROOM, { since: '5-7' });
    world.client.connect();
    const identify = await ready(world, [{ channel: ROOM, position: '5-7', recovered: true }]);
    assert.equal(sinceOf(identify), '5-7');
    assert.ok(world.events.some(({ type, channel }) => type === 'recovered' && channel === ROOM));
  });

  it('begins at `since` of a later Subscribe as well', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM, { since: '5-7' });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '5-7' }]);
    assert.equal(room.state, 'pending');
    world.socket.receive({ op: 6, channel: ROOM, state: 'subscribed', position: '8-0', recovered: false });
    assert.equal(room.state, 'subscribed');
    assert.equal(world.events.at(-1).type, 'gap');
    assert.equal(room.position, '8-0');
  });
});

describe('a gap', () => {
  it('is reported in order with the messages', async () => {
    const { world, received, room } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive({ op: 8, channel: ROOM, reason: 'link_lost' });
    world.socket.receive(message(ROOM, 3, '5-3'));
    assert.deepEqual(received.slice(1), [
      { type: 'message', channel: ROOM, message: { n: 1 }, position: '5-1' },
      { type: 'gap', channel: ROOM, reason: 'link_lost' },
      { type: 'message', channel: ROOM, message: { n: 3 }, position: '5-3' },
    ]);
    assert.equal(room.position, '5-3');
  });
});

describe('subscriptions', () => {
  it('of one channel send one Subscribe, and Unsubscribe with the last', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const [one, other] = [world.client.subscribe(ROOM), world.client.subscribe(ROOM)];
    await settled();
    world.socket.receive({ op: 6, channel: ROOM, state: 'subscribed', position: '5-0' });
    const late = world.client.subscribe(ROOM);
    const received = [];
    late.on('event', (event) => received.push(event));
    await settled();
    assert.deepEqual(received, [{ type: 'subscribed', channel: ROOM, position: '5-0' }]);
    one.unsubscribe();
    other.unsubscribe();
    await settled();
    assert.equal(world.socket.ops(5).length, 0);
    late.unsubscribe();
    await settled();
    assert.deepEqual([world.socket.ops(4).length, world.socket.ops(5).length], [1, 1]);
  });

  it("of the session's own channels send nothing", async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const own = world.client.subscribe('user:42');
    const received = [];
    own.on('message', ({ message }) => received.push(message.n));
    await settled();
    world.socket.receive(message('user:42', 1));
    own.unsubscribe();
    await settled();
    world.socket.receive(message('user:42', 2));
    assert.deepEqual(received, [1]);
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
    assert.equal(world.events.at(-1).message.n, 2, 'the client still receives it');
  });

  it('that are repeated at once continue without a request', async () => {
    const { world, room } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    room.unsubscribe();
    const again = world.client.subscribe(ROOM);
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
    assert.equal(again.position, '5-1');
    assert.equal(again.state, 'subscribed');
  });

  it('that are repeated during an Unsubscribe miss nothing', async () => {
    const { world, room } = await inRoom();
    world.socket.receive(message(ROOM, 1, '5-1'));
    room.unsubscribe();
    await settled();
    const again = world.client.subscribe(ROOM);
    const received = [];
    again.on('event', (event) => received.push(event));
    // A message on its way is delivered to no subscription and does not move the position.
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.equal(again.position, '5-1');
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '5-1' }]);
    world.socket.receive({ op: 6, channel: ROOM, state: 'subscribed', position: '5-1', recovered: true });
    world.socket.receive(message(ROOM, 2, '5-2'));
    assert.deepEqual(
      received.map(({ type }) => type),
      ['subscribed', 'recovered', 'message'],
    );
  });

  it('with their own position resubscribe at that position', async () => {
    const { world, room } = await inRoom();
    room.unsubscribe();
    world.client.subscribe(ROOM, { since: '4-4' });
    await settled();
    assert.equal(world.socket.ops(5).length, 1);
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, since: '4-4' }]);
  });

  it('at a conflicting position are refused alone', async () => {
    const { world, room, received } = await inRoom();
    const before = received.length;
    const other = world.client.subscribe(ROOM, { since: '4-4' });
    const otherEvents = [];
    other.on('event', (event) => otherEvents.push(event));
    await world.clock.pass(0);
    assert.deepEqual(otherEvents, [{ type: 'refused', channel: ROOM, reason: 'since_conflict' }]);
    assert.deepEqual([other.state, other.position, room.state], ['refused', undefined, 'subscribed']);
    world.socket.receive(message(ROOM, 1, '5-1'));
    assert.deepEqual([otherEvents.length, received.length], [1, before + 1]);
    room.unsubscribe();
    await settled();
    assert.equal(world.socket.ops(5).length, 1, 'a refused subscription does not keep the channel');
  });

  it('that end before the answer are unsubscribed afterwards', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM);
    await settled();
    room.unsubscribe();
    await settled();
    assert.equal(world.socket.ops(5).length, 0, 'one request at a time');
    world.socket.receive({ op: 6, channel: ROOM, state: 'subscribed', position: '5-0' });
    await settled();
    assert.equal(world.socket.ops(5).length, 1);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed' });
    assert.equal(world.events.filter(({ channel }) => channel === ROOM).length, 0);
    assert.equal(sinceOf(await cut(world)), undefined);
  });

  it('that are refused report it and are retried after a reconnect', async () => {
    const { world, room } = await inRoom();
    const secret = world.client.subscribe('secret:1');
    await settled();
    world.socket.receive({ op: 6, channel: 'secret:1', state: 'refused', reason: 'not_allowed' });
    assert.equal(secret.state, 'refused');
    assert.deepEqual(world.events.at(-1), { type: 'refused', channel: 'secret:1', reason: 'not_allowed' });
    // A new token allows fewer channels.
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed', reason: 'not_allowed' });
    assert.equal(room.state, 'refused');
    await settled();
    assert.equal(world.socket.ops(4).length, 1, 'no retry on the same connection');
    const identify = await cut(world);
    assert.deepEqual(
      identify.channels.map(({ channel }) => channel),
      ['user:42', 'all', ROOM, 'secret:1'],
    );
  });

  it("of a user's own channel end when the user changes", async () => {
    const { world } = await inRoom();
    await cut(world);
    world.socket.receive({
      op: 2,
      user: '43',
      channels: [
        { channel: 'user:43', position: '1-0' },
        { channel: 'all', position: '1-0', recovered: true },
      ],
    });
    world.socket.receive({ op: 6, channel: 'user:42', state: 'refused', reason: 'not_allowed' });
    assert.ok(!world.events.some(({ type }) => type === 'refused'));
    const identify = await cut(world);
    assert.ok(!identify.channels.some(({ channel }) => channel === 'user:42'));
  });
});

describe('listeners', () => {
  it('that throw affect no other listener, and cause an error event', async () => {
    const { world, room } = await inRoom();
    const received = [];
    room.on('message', () => {
      throw new Error('mine');
    });
    room.on('message', ({ message }) => received.push(message.n));
    world.socket.receive(message(ROOM, 1, '5-1'));
    assert.deepEqual(received, [1]);
    assert.equal(room.position, '5-1');
    assert.deepEqual(
      world.errors.map(({ where, error }) => [where, error.message]),
      [['listener', 'mine']],
    );
  });

  it('can be removed', async () => {
    const { world, room } = await inRoom();
    const received = [];
    const off = room.on('message', ({ message }) => received.push(message.n));
    world.socket.receive(message(ROOM, 1));
    off();
    world.socket.receive(message(ROOM, 2));
    assert.deepEqual(received, [1]);
  });
});

describe('iterations', () => {
  it('return all events in order, and end with the subscription', async () => {
    const { world, room } = await inRoom();
    const types = [];
    const loop = (async () => {
      for await (const event of room) types.push(event.type);
    })();
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive({ op: 8, channel: ROOM, reason: 'link_lost' });
    await settled();
    world.socket.receive(message(ROOM, 2, '5-2'));
    room.unsubscribe();
    await loop;
    assert.deepEqual(types, ['message', 'gap', 'message']);
  });

  it('of the client cover every channel, and end with the client', async () => {
    const { world } = await inRoom();
    const channels = [];
    const loop = (async () => {
      for await (const { channel } of world.client) channels.push(channel);
    })();
    world.socket.receive(message(ROOM, 1));
    world.socket.receive(message('user:42', 2));
    world.client.close();
    await loop;
    assert.deepEqual(channels, [ROOM, 'user:42']);
  });

  it('that read too slowly end with an error after the buffer', async () => {
    const { world, room } = await inRoom({ bufferSize: 3 });
    const iteration = room[Symbol.asyncIterator]();
    for (let n = 1; n <= 5; n++) world.socket.receive(message(ROOM, n, `5-${n}`));
    const numbers = [];
    await assert.rejects(async () => {
      for await (const event of iteration) numbers.push(event.message.n);
    }, BufferOverflow);
    assert.deepEqual(numbers, [1, 2, 3]);
  });

  it('that have ended buffer nothing', async () => {
    const { world, room } = await inRoom();
    for (let n = 0; n < 2; n++) {
      setImmediate(() => world.socket.receive(message(ROOM, n)));
      for await (const event of room) {
        assert.equal(event.message.n, n);
        break;
      }
    }
  });
});
