// The life cycle of a page: it is hidden and shown again, and its network goes and returns.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { browserPresence } from '../dist/index.js';
import { cut, hello, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';

/** Starts a client in a simulated page, which is an EventTarget. */
function startPage(options) {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const world = start({
    presence: (wake, rest) => {
      const before = {};
      for (const [name, value] of Object.entries({
        addEventListener: page.addEventListener.bind(page),
        removeEventListener: page.removeEventListener.bind(page),
        document,
      })) {
        before[name] = Object.getOwnPropertyDescriptor(globalThis, name);
        Object.defineProperty(globalThis, name, { value, configurable: true });
      }
      const off = browserPresence(wake, rest);
      for (const name of Object.keys(before)) {
        if (before[name]) Object.defineProperty(globalThis, name, before[name]);
        else delete globalThis[name];
      }
      return off;
    },
    ...options,
  });
  world.happens = (type) => {
    const target = ['resume', 'visibilitychange'].includes(type) ? document : page;
    target.dispatchEvent(new Event(type));
    return settled();
  };
  world.document = document;
  return world;
}

async function inRoom() {
  const world = startPage();
  world.room = world.client.subscribe(ROOM);
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  world.socket.receive({ op: 11 });
  world.socket.receive(message(ROOM, 1, '5-1'));
  return world;
}

describe('a page that is hidden for the cache', () => {
  it('closes its socket, so that the browser can cache it', async () => {
    const world = await inRoom();
    await world.happens('pagehide');
    assert.deepEqual([world.socket.isClosed, world.socket.closedWith], [true, 1000]);
    assert.deepEqual([world.client.state, world.states.at(-1).reason], ['waiting', 'pagehide']);
    await world.clock.pass(10_000);
    assert.equal(world.sockets.length, 1, 'no socket is opened before the page is frozen');
  });

  it('reconnects and resumes at once when it is shown again', async () => {
    const world = await inRoom();
    await world.happens('pagehide');
    await world.happens('pageshow');
    assert.equal(world.sockets.length, 2);
    const identify = await ready(world, [{ channel: ROOM, position: '5-1', recovered: true }]);
    assert.equal(identify.channels.find(({ channel }) => channel === ROOM).since, '5-1');
    assert.equal(world.room.state, 'subscribed');
  });

  it('restarts its attempt when it is shown again', async () => {
    const world = startPage();
    world.client.connect();
    await hello(world);
    await world.happens('pagehide');
    assert.ok(world.socket.isClosed);
    await world.happens('pageshow');
    await ready(world);
    assert.deepEqual([world.client.state, world.sockets.length], ['connected', 2]);
  });

  it('reconnects without a pageshow event as well', async () => {
    const world = await inRoom();
    await world.happens('pagehide');
    await world.clock.pass(30_000);
    assert.equal(world.sockets.length, 2);
  });

  it('keeps a delay that the gateway requested', async () => {
    const world = await inRoom();
    world.socket.end(4007);
    const { retryInMs } = world.states.at(-1);
    await world.happens('pagehide');
    await world.happens('pageshow');
    assert.equal(world.sockets.length, 1);
    await world.clock.pass(retryInMs);
    assert.equal(world.sockets.length, 2);
  });

  it('stays closed after close()', async () => {
    const world = await inRoom();
    world.client.close();
    const all = ['pagehide', 'pageshow', 'offline', 'online', 'resume', 'visibilitychange'];
    for (const type of all) await world.happens(type);
    assert.deepEqual([world.client.state, world.sockets.length, world.clock.timers], ['closed', 1, 0]);
  });
});

describe('a page that loses its network', () => {
  it('reports it at once, and reconnects with the network', async () => {
    const world = await inRoom();
    await world.happens('offline');
    assert.deepEqual([world.client.state, world.states.at(-1).reason], ['waiting', 'offline']);
    assert.ok(world.socket.isClosed);
    await world.happens('online');
    assert.equal(world.sockets.length, 2);
  });

  it('retries meanwhile, because some browsers report offline falsely', async () => {
    const world = await inRoom();
    await world.happens('offline');
    await world.clock.pass(1_000);
    assert.equal(world.sockets.length, 2);
  });

  it('restarts a hanging attempt on another network', async () => {
    const world = startPage();
    world.client.connect();
    await settled();
    await world.clock.pass(5_000);
    await world.happens('online');
    assert.deepEqual([world.sockets.length, world.sockets[0].isClosed], [2, true]);
    world.sockets[0].receive({ op: 0, heartbeat_interval: 45_000 });
    await settled();
    assert.equal(world.sockets[0].ops(1).length, 0, 'the hanging socket is ignored');
    await ready(world);
    assert.deepEqual(
      world.states.map(({ state }) => state),
      ['connecting', 'connected'],
    );
  });

  it('restarts a hanging token request as well', async () => {
    const requested = [];
    const world = startPage({ token: () => new Promise((resolve) => requested.push(resolve)) });
    world.client.connect();
    await world.clock.pass(5_000);
    await world.happens('online');
    assert.equal(requested.length, 2);
    requested[0]('old');
    requested[1]('new');
    assert.equal((await ready(world)).token, 'new');
  });

  it('that flaps makes at most one attempt per second', async () => {
    const world = await inRoom();
    for (let turn = 0; turn < 100; turn++) {
      await world.happens('offline');
      await world.happens('online');
      await world.clock.pass(100);
    }
    assert.ok(world.sockets.length <= 25, `${world.sockets.length} in ten seconds`);
  });
});

describe('a page in the background', () => {
  it('sends a heartbeat when it becomes visible or resumes', async () => {
    for (const type of ['visibilitychange', 'resume', 'pageshow']) {
      const world = await inRoom();
      const { length } = world.socket.ops(10);
      await world.happens(type);
      assert.equal(world.socket.ops(10).length, length + 1, type);
    }
  });

  it('does nothing when it is hidden', async () => {
    const world = await inRoom();
    const { length } = world.socket.ops(10);
    world.document.visibilityState = 'hidden';
    await world.happens('visibilitychange');
    assert.equal(world.socket.ops(10).length, length);
  });

  it('stays within its message budget however often it wakes', async () => {
    const world = await inRoom();
    for (let turn = 0; turn < 500; turn++) {
      await world.happens('visibilitychange');
      world.socket.receive({ op: 11 });
    }
    assert.ok(world.socket.sent.length < 120);
    await cut(world);
  });
});
