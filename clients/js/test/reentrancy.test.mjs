// Calls inside listeners: close, connect, wake, refresh and subscribe at every event.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hello, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';
const STATES = ['connecting', 'connected', 'waiting', 'closed'];
const EVENTS = ['message', 'recovering', 'subscribed', 'recovered', 'gap', 'refused', 'event', 'error', 'latency'];
const MOMENTS = [...STATES.map((state) => `state ${state}`), ...EVENTS];

/** Calls `act` at each such moment. */
function at(client, moment, act) {
  const [type, state] = moment.split(' ');
  client.on(type, (event) => (state === undefined || event.state === state) && act(event));
}

const token = async (reason) => `token ${reason}`;

/** Simulates a gateway that answers every open socket and causes every kind of event, once per second. */
async function play(world, seconds = 60) {
  for (let second = 0; second < seconds; second++) {
    await settled();
    const socket = world.socket;
    if (socket && !socket.isClosed && !socket.isPlayed) {
      socket.isPlayed = true;
      await hello(world);
      const since = socket.ops(1)[0]?.channels.find(({ channel }) => channel === ROOM)?.since;
      socket.receive({
        op: 2,
        user: '42',
        expires_in: 600_000,
        channels: [
          { channel: 'user:42', position: '1-0' },
          { channel: 'all', state: 'recovering' },
          { channel: ROOM, position: '5-0', ...(since && { recovered: second % 2 === 0 }) },
        ],
      });
      socket.receive(message(ROOM, 1, '5-1'));
      socket.receive({ op: 8, channel: ROOM, reason: 'link_lost' });
      socket.receive({ op: 6, channel: 'secret:1', state: 'refused', reason: 'not_allowed' });
      socket.receive({ op: 9, code: 'own_channel', detail: '' });
      socket.receive({ op: 11, time: world.clock.time - 5 });
      await settled();
      socket.end(second % 3 === 2 ? 4010 : 1006);
    }
    await world.clock.pass(1_000);
  }
  await settled();
}

function begin(options = {}) {
  const requested = [];
  const world = start({ token: (reason) => (requested.push(reason), token(reason)), ...options });
  world.requested = requested;
  world.client.subscribe(ROOM);
  world.client.subscribe('secret:1');
  return world;
}

describe('close() inside a listener', () => {
  for (const moment of MOMENTS) {
    it(`ends the client at ${moment}`, async () => {
      const world = begin();
      let calls = 0;
      at(world.client, moment, () => {
        calls++;
        world.client.close();
        assert.equal(world.client.state, 'closed');
      });
      world.client.connect();
      await play(world);
      assert.ok(calls > 0, 'the moment occurred');
      assert.equal(world.client.state, 'closed');
      assert.equal(world.clock.timers, 0);
      const [sockets, requested] = [world.sockets.length, world.requested.length];
      await world.clock.pass(1_000_000);
      assert.deepEqual([world.sockets.length, world.requested.length], [sockets, requested]);
      assert.ok(world.sockets.every(({ isClosed, isPlayed }) => isClosed || isPlayed));
      assert.equal(world.states.filter(({ state }) => state === 'closed').length, 1);
    });
  }

  for (const what of ['connecting', 'wake', 'connected', 'subscribed', 'error', 'waiting', 'closed']) {
    it(`ends the client from the log function: ${what}`, async () => {
      const world = begin({ log: (said) => said === what && world.client.close() });
      world.client.connect();
      if (what === 'wake') world.client.wake();
      await play(world, 10);
      assert.deepEqual([world.client.state, world.clock.timers], ['closed', 0]);
      const states = world.states.map(({ state }) => state);
      assert.equal(states.indexOf('closed'), states.length - 1, String(states));
    });
  }

  it('requests no token while connecting', async () => {
    const world = begin();
    at(world.client, 'state connecting', () => world.client.close());
    world.client.connect();
    await settled();
    assert.deepEqual([world.requested, world.sockets.length], [[], 0]);
  });
});

describe('connect() inside a listener', () => {
  for (const moment of MOMENTS) {
    it(`leaves one connection at ${moment}`, async () => {
      const world = begin();
      at(world.client, moment, () => world.client.connect());
      world.client.connect();
      await play(world, 10);
      const open = world.sockets.filter(({ isClosed, isPlayed }) => !isClosed && !isPlayed);
      assert.ok(open.length <= 1, `${open.length} are open`);
      assert.ok(world.sockets.length <= 12, `${world.sockets.length} attempts in ten seconds`);
    });
  }

  it('connects again after a final close', async () => {
    const world = begin();
    at(world.client, 'state closed', () => world.client.connect());
    world.client.connect();
    await ready(world);
    world.socket.end(4010);
    await ready(world);
    assert.equal(world.client.state, 'connected');
    assert.equal(world.sockets.length, 2);
  });
});

describe('close() and connect() in listeners of one client', () => {
  for (const closing of MOMENTS) {
    for (const connecting of MOMENTS) {
      it(`stop repeating: ${closing}, ${connecting}`, async () => {
        const world = begin();
        at(world.client, closing, () => world.client.close());
        at(world.client, connecting, () => world.client.connect());
        world.client.connect();
        await play(world, 30);
        // At most five attempts at once; then the back-off limits them.
        assert.ok(world.requested.length <= 40, `${world.requested.length} tokens in half a minute`);
        assert.ok(world.states.length <= 120, `${world.states.length} states in half a minute`);
        world.client.close();
        assert.equal(world.clock.timers, 0);
      });
    }
  }

  it('cancel everything that was started before', async () => {
    const world = begin();
    let isFirst = true;
    at(world.client, 'state connected', () => {
      if (!isFirst) return;
      isFirst = false;
      world.client.close();
      world.client.connect();
      assert.equal(world.client.state, 'connecting');
    });
    world.client.connect();
    await ready(world, [{ channel: ROOM, position: '5-0' }]);
    const [first] = world.sockets;
    assert.ok(first.isClosed);
    assert.equal(world.events.length, 0, 'the first session has ended');
    first.end(1000);
    await ready(world);
    assert.equal(world.client.state, 'connected');
    assert.deepEqual(
      world.states.map(({ state }) => state),
      ['connecting', 'connected', 'closed', 'connecting', 'connected'],
    );
    assert.equal(world.sockets.length, 2);
  });
});

describe('a second listener', () => {
  it('gets the states in order', async () => {
    const world = start();
    const received = [];
    const { client } = world;
    at(client, 'state connecting', () => received.length === 0 && client.close());
    client.on('state', ({ state }) => received.push(state));
    client.connect();
    await settled();
    assert.deepEqual(received, ['connecting', 'closed']);
    assert.deepEqual(
      world.states.map(({ state }) => state),
      received,
    );
  });

  it('gets the message at which the first one closed, and no later one', async () => {
    const world = start();
    const room = world.client.subscribe(ROOM);
    const received = [];
    room.on('message', () => world.client.close());
    room.on('message', (event) => received.push(event.message.n));
    world.client.on('message', (event) => received.push(event.message.n));
    world.client.connect();
    await ready(world, [{ channel: ROOM, position: '5-0' }]);
    for (const n of [1, 2]) world.socket.receive(message(ROOM, n, `5-${n}`));
    assert.deepEqual(received, [1, 1]);
  });

  it('is not called after the first one has removed it', async () => {
    const world = start();
    const received = [];
    let off = () => {};
    world.client.on('state', () => off());
    off = world.client.on('state', ({ state }) => received.push(state));
    world.client.connect();
    assert.deepEqual(received, []);
  });
});

describe('a subscription that a listener makes', () => {
  it('at the closed state outlives that close()', async () => {
    const world = start();
    let room;
    at(world.client, 'state closed', () => {
      room ??= world.client.subscribe(ROOM);
      world.client.connect();
    });
    world.client.connect();
    await ready(world);
    world.client.close();
    const identify = await hello(world);
    assert.equal(room.state, 'pending');
    assert.ok(identify.channels.some(({ channel }) => channel === ROOM));
  });

  it('at every refusal does not block the page', async () => {
    const world = start();
    let refusals = 0;
    world.client.on('refused', ({ channel }) => {
      if (++refusals < 10_000) world.client.subscribe(channel);
    });
    world.client.subscribe('a bad name');
    await settled();
    assert.equal(refusals, 0, 'the refusal is reported in a later task');
    await world.clock.pass(0);
    assert.ok(refusals >= 1);
  });
});

describe('while a token is requested', () => {
  const answers = [];
  const slow = () => new Promise((resolve, reject) => answers.push({ resolve, reject }));

  it('close() discards its result and its failure', async () => {
    for (const how of ['resolve', 'reject']) {
      answers.length = 0;
      const world = start({ token: slow });
      world.client.connect();
      await settled();
      world.client.close();
      assert.equal(world.clock.timers, 0, 'no timer remains');
      answers[0][how]('token');
      await settled();
      assert.deepEqual([world.client.state, world.sockets.length, world.errors.length], ['closed', 0, 0], how);
    }
  });

  it('close() and connect() inside the token function take effect', async () => {
    let calls = 0;
    const world = start({
      token: () => {
        if (++calls === 1) {
          world.client.close();
          world.client.connect();
        }
        return `token ${calls}`;
      },
    });
    world.client.connect();
    const identify = await ready(world);
    assert.equal(identify.token, 'token 2');
    assert.deepEqual([world.client.state, world.sockets.length], ['connected', 1]);
  });

  it('close() and connect() discard the refresh of the earlier session', async () => {
    for (const how of ['resolve', 'reject']) {
      answers.length = 0;
      let isSlow = false;
      const world = start({ token: () => (isSlow ? slow() : 'token') });
      world.client.connect();
      await ready(world);
      isSlow = true;
      world.client.refresh();
      await world.clock.pass(0);
      assert.equal(answers.length, 1);
      isSlow = false;
      world.client.close();
      world.client.connect();
      await ready(world);
      answers[0][how]('late');
      await settled();
      assert.equal(world.socket.ops(12).length, 0, how);
      assert.equal(world.errors.length, 0, how);
    }
  });
});

describe('no call repeats without limit', () => {
  const FAULTS = {
    'a token function that throws': () => {
      throw new Error('down');
    },
    'no token': () => null,
    'no WebSocket': () => 'token',
  };
  for (const [name, getToken] of Object.entries(FAULTS)) {
    it(`if listeners connect, wake and refresh at once: ${name}`, async () => {
      let calls = 0;
      const world = start({ token: () => (calls++, getToken()) });
      world.sockets.push = () => {
        throw new Error('no socket');
      };
      const { client } = world;
      client.on('state', () => client.connect());
      client.on('state', () => client.wake('online'));
      client.on('error', () => {
        client.wake('online');
        client.refresh();
        client.connect();
      });
      client.connect();
      await settled();
      await world.clock.pass(10_000);
      assert.ok(calls > 0 && calls <= 40, `${calls} calls in ten seconds`);
      client.close();
    });
  }

  it('if a listener wakes the client at each heartbeat answer', async () => {
    const world = start();
    world.client.on('latency', () => world.client.wake());
    world.client.connect();
    await ready(world);
    for (let turn = 0; turn < 1_000; turn++) {
      const { length } = world.socket.ops(10);
      world.socket.receive({ op: 11, time: world.clock.time });
      await settled();
      if (world.socket.ops(10).length === length) break;
    }
    assert.ok(world.socket.ops(10).length < 120, 'the budget holds');
  });

  it('if a listener refreshes at each failure', async () => {
    const requested = [];
    let isDown = false;
    const world = start({
      token: (reason) => {
        requested.push(reason);
        if (isDown) throw new Error('down');
        return 'token';
      },
    });
    world.client.on('error', () => world.client.refresh());
    world.client.connect();
    await ready(world);
    isDown = true;
    world.client.refresh();
    await world.clock.pass(5_000);
    assert.ok(requested.length >= 3 && requested.length <= 8, `${requested.length} in five seconds`);
  });
});
