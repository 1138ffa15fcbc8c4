// Promises of a connection, and the two ways of ending one.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, hello, message, ready, settled, start } from './support/fake.mjs';

const { GatewayError } = await import(process.env.CLIENT ?? '../dist/index.js');
const ROOM = 'room:7';

/** How a promise was settled so far. */
function watch(promise) {
  const seen = { is: 'pending' };
  promise.then(
    () => (seen.is = 'resolved'),
    (error) => Object.assign(seen, { is: 'rejected', error }),
  );
  return seen;
}

async function inRoom(options) {
  const world = start();
  const room = world.client.subscribe(ROOM, options);
  const connected = watch(world.client.connect());
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  world.socket.receive(message(ROOM, 1, '5-1'));
  return { world, room, connected };
}

describe('connect() and ready()', () => {
  it('resolve when Ready has arrived, also after failed attempts', async () => {
    const world = start();
    const early = watch(world.client.ready());
    const connected = watch(world.client.connect());
    await hello(world);
    await cut(world);
    assert.deepEqual([early.is, connected.is], ['pending', 'pending']);
    world.socket.receive({ op: 2, user: '42', channels: [] });
    await settled();
    assert.deepEqual([early.is, connected.is], ['resolved', 'resolved']);
    await world.client.connect();
    await world.client.ready();
  });

  it('wait again after the connection was lost', async () => {
    const { world } = await inRoom();
    world.socket.end(1006);
    const again = watch(world.client.ready());
    await settled();
    assert.equal(again.is, 'pending');
    await world.clock.pass(world.states.at(-1).retryInMs);
    await ready(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.equal(again.is, 'resolved');
  });

  it('reject with a code when the client is closed', async () => {
    const world = start();
    const connected = watch(world.client.connect());
    await hello(world);
    world.socket.end(4010, 'banned');
    await settled();
    assert.equal(connected.is, 'rejected');
    assert.ok(connected.error instanceof GatewayError && connected.error instanceof Error);
    assert.deepEqual([connected.error.code, connected.error.message], ['closed', 'banned']);
    await assert.rejects(world.client.ready(), { name: 'GatewayError', code: 'closed' });
  });

  it('may be rejected without a handler', async () => {
    const world = start();
    world.client.connect();
    world.client.close();
    // An unhandled rejection would fail the test.
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('belong to one connect(), also inside the listener of a close', async () => {
    const world = start();
    world.client.once('state', () => world.client.once('state', () => (world.second = watch(world.client.connect()))));
    const first = watch(world.client.connect());
    world.client.close();
    await ready(world);
    assert.deepEqual([first.is, world.second.is], ['rejected', 'resolved']);
  });
});

describe('a connect() that waits because the client was closed often', () => {
  for (const [end, code] of [['disconnect', 'disconnected'], ['close', 'closed']]) {
    it(`is rejected by ${end}()`, async () => {
      const world = start();
      for (let turn = 0; turn < 5; turn++) {
        world.client.connect();
        world.client.close();
      }
      const waiting = watch(world.client.connect());
      await settled();
      assert.deepEqual([waiting.is, world.client.state, world.clock.timers], ['pending', 'closed', 1]);
      world.client[end]();
      await settled();
      assert.deepEqual([waiting.is, waiting.error?.code, world.clock.timers], ['rejected', code, 0]);
    });
  }

  it('resolves after the wait', async () => {
    const world = start();
    for (let turn = 0; turn < 5; turn++) {
      world.client.connect();
      world.client.close();
    }
    const waiting = watch(world.client.connect());
    await world.clock.pass(world.clock.nextInMs);
    await ready(world);
    assert.equal(waiting.is, 'resolved');
  });
});

describe('disconnect()', () => {
  it('keeps subscriptions and positions, and connect() resumes them', async () => {
    const { world, room } = await inRoom();
    const loop = room[Symbol.asyncIterator]();
    world.client.disconnect();
    assert.equal(world.socket.closedWith, 1000);
    assert.deepEqual(world.states.at(-1), { state: 'idle', attempts: 0, reason: 'disconnected' });
    assert.deepEqual([room.state, room.position, world.clock.timers], ['pending', '5-1', 0]);
    await world.clock.pass(1_000_000);
    assert.equal(world.sockets.length, 1, 'it does not reconnect by itself');
    const connected = watch(world.client.connect());
    const identify = await ready(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.equal(identify.channels.find(({ channel }) => channel === ROOM).since, '5-1');
    assert.equal(connected.is, 'resolved');
    world.socket.receive(message(ROOM, 2, '5-2'));
    const types = [];
    for (let n = 0; n < 3; n++) types.push((await loop.next()).value.type);
    assert.deepEqual(types, ['subscribed', 'recovered', 'message']);
  });

  it('accepts subscriptions meanwhile', async () => {
    const { world, room } = await inRoom();
    world.client.disconnect();
    room.unsubscribe();
    world.client.subscribe('room:8');
    world.client.connect();
    const names = (await hello(world)).channels.map(({ channel }) => channel);
    assert.deepEqual(names, ['user:42', 'all', 'room:8']);
  });

  it('rejects ready() with a code until the next connect()', async () => {
    const world = start();
    const connected = watch(world.client.connect());
    world.client.disconnect();
    await settled();
    assert.deepEqual([connected.is, connected.error.code], ['rejected', 'disconnected']);
    await assert.rejects(world.client.ready(), { code: 'disconnected' });
    const again = watch(world.client.connect());
    await ready(world);
    assert.equal(again.is, 'resolved');
  });

  it('changes nothing before connect() and after close()', async () => {
    const world = start();
    world.client.disconnect();
    assert.deepEqual([world.client.state, world.states], ['idle', []]);
    world.client.connect();
    await ready(world);
    world.client.close();
    world.client.disconnect();
    assert.equal(world.client.state, 'closed');
  });

  it('is ended by close()', async () => {
    const { world, room } = await inRoom();
    world.client.disconnect();
    world.client.close();
    assert.deepEqual([world.client.state, room.state], ['closed', 'closed']);
    world.client.connect();
    assert.ok(!(await hello(world)).channels.some(({ channel }) => channel === ROOM));
  });
});
