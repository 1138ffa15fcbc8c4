// Invalid input from the app, from its token function, and from the gateway.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GatewayClient } from '../dist/index.js';
import { cut, hello, LIMITS, message, ready, settled, start } from './support/fake.mjs';
import { ODD, oddFrames, ROOM } from './support/odd.mjs';

/** Passes time until the next attempt, if there is one. */
const reconnect = (world) => world.clock.pass(Math.min(world.states.at(-1).retryInMs ?? 60_000, 60_000));

describe('a request of the app', () => {
  it('may have `since: null`, which means no position', async () => {
    const world = start();
    for (const options of [{ since: null }, { since: undefined }, null, undefined]) {
      world.client.subscribe(ROOM, options);
    }
    world.client.connect();
    assert.deepEqual((await hello(world)).channels, [{ channel: ROOM }]);
  });

  it('with an invalid channel or position is refused alone', async () => {
    const world = start();
    const long = `room:${'x'.repeat(251)}`;
    const bad = [7, {}, null, undefined, true, ['room:1'], '', 'two words', 'room:{1}', 'room:ä', long];
    const refused = bad.map((name) => world.client.subscribe(name));
    const badSince = [5, {}, true, [], 'x'.repeat(256)].map((since) => world.client.subscribe(ROOM, { since }));
    const good = world.client.subscribe(`room:${'x'.repeat(250)}`);
    const received = [];
    [...refused, ...badSince].forEach((one) => one.on('refused', ({ reason }) => received.push(reason)));
    world.client.connect();
    const identify = await ready(world, [{ channel: good.channel, position: '1-0' }]);
    assert.deepEqual(identify.channels, [{ channel: good.channel }]);
    await world.clock.pass(0);
    assert.deepEqual(received, [...bad.map(() => 'bad_channel'), ...badSince.map(() => 'bad_since')]);
    assert.ok([...refused, ...badSince].every(({ state }) => state === 'refused'));
    assert.deepEqual([good.state, world.client.state], ['subscribed', 'connected']);
    [...refused, ...badSince].forEach((one) => one.unsubscribe());
    assert.equal(refused[0].state, 'closed');
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
  });

  it('without a valid token throws a TypeError', () => {
    for (const token of [undefined, null, 42, {}, true]) {
      assert.throws(() => new GatewayClient({ url: 'ws://gateway.test/', token }), TypeError);
    }
  });
});

describe('the result of a token function', () => {
  for (const invalid of [42, 0, false, true, {}, ['token'], () => 'token', Symbol('token')]) {
    it(`causes an error if it is invalid: ${String(invalid) || '[]'}`, async () => {
      let answer = invalid;
      const world = start({ token: async () => answer });
      world.client.connect();
      await settled();
      assert.deepEqual([world.client.state, world.sockets.length], ['waiting', 0]);
      assert.equal(world.errors[0].where, 'token');
      assert.ok(world.errors[0].error instanceof TypeError);
      answer = 'token';
      await world.clock.pass(1_000);
      await ready(world);
      assert.equal(world.client.state, 'connected');
    });
  }

  it('causes an error if it is invalid at a refresh, and the session continues', async () => {
    let answer = 'token';
    const world = start({ token: () => answer });
    world.client.connect();
    await ready(world);
    answer = { token: 'token' };
    world.client.refresh();
    await world.clock.pass(0);
    assert.deepEqual(
      world.errors.map(({ where }) => where),
      ['token'],
    );
    assert.deepEqual([world.client.state, world.socket.ops(12).length], ['connected', 0]);
  });

  for (const none of [null, undefined, '']) {
    it(`closes the client if it is empty: ${JSON.stringify(none)}`, async () => {
      const world = start({ token: () => none });
      world.client.connect();
      await settled();
      assert.equal(world.states.at(-1).reason, 'no token');
      assert.equal(world.client.state, 'closed');
    });
  }
});

describe('an Identify that the gateway rejects', () => {
  for (const code of [1003, 1007, 1009, 4001]) {
    it(`${code} three times in a row is final, with an error`, async () => {
      const world = start();
      world.client.connect();
      for (let turn = 1; turn <= 3; turn++) {
        await hello(world);
        world.socket.end(code, 'no good');
        assert.equal(world.client.state, turn < 3 ? 'waiting' : 'closed');
        await reconnect(world);
      }
      assert.equal(world.sockets.length, 3);
      assert.deepEqual([world.states.at(-1).code, world.errors.at(-1).where], [code, 'identify']);
      assert.match(world.errors.at(-1).error.message, new RegExp(`${code}.*no good`));
      world.client.connect();
      await hello(world);
      world.socket.end(code);
      assert.equal(world.client.state, 'waiting', 'the count starts again');
    });
  }

  it('counts only consecutive rejections before Ready', async () => {
    const world = start();
    world.client.connect();
    for (const code of [4001, 1009, 1006, 4001, 1009]) {
      await hello(world);
      world.socket.end(code);
      await reconnect(world);
    }
    await ready(world);
    for (let turn = 0; turn < 5; turn++) {
      world.socket.end(4001);
      await reconnect(world);
      await ready(world);
    }
    assert.equal(world.client.state, 'connected');
  });
});

describe('a WebSocket that fails', () => {
  it('reports the reason in the state and as an error', async () => {
    const world = start();
    world.client.connect();
    await settled();
    const error = new Error('connect ECONNREFUSED 127.0.0.1:1');
    world.socket.onerror({ error, message: error.message });
    world.socket.end(1006);
    assert.equal(world.states.at(-1).reason, error.message);
    assert.deepEqual(world.errors, [{ where: 'socket', error }]);
  });

  it('reports the reason if it is only a text, as in React Native', async () => {
    const world = start();
    world.client.connect();
    await settled();
    world.socket.onerror({ message: 'Software caused connection abort' });
    world.socket.end(1006);
    assert.equal(world.states.at(-1).reason, 'Software caused connection abort');
  });

  it('without a reason, as in browsers, causes no error event', async () => {
    const world = start();
    world.client.connect();
    await settled();
    world.socket.onerror({ type: 'error' });
    world.socket.onclose({});
    assert.deepEqual([world.states.at(-1).code, world.states.at(-1).reason, world.errors], [1006, '', []]);
  });
});

describe('a gateway that sends malformed frames', () => {
  const moments = {
    'before Hello': async () => {},
    'before Ready': async (world) => hello(world),
    'after Ready': async (world) => ready(world, [{ channel: ROOM, position: '5-0' }]),
    'while a channel recovers': async (world) => ready(world, [{ channel: ROOM, state: 'recovering' }]),
  };
  for (const [moment, arrive] of Object.entries(moments)) {
    it(`breaks nothing ${moment}`, async () => {
      for (const frame of oddFrames()) {
        const world = start({ token: () => 'token' });
        const room = world.client.subscribe(ROOM);
        world.client.connect();
        await settled();
        await arrive(world);
        const what = JSON.stringify(frame);
        assert.doesNotThrow(() => world.socket.receive(frame), what);
        await settled();
        // No timer fires repeatedly without a delay.
        const { sent } = world.socket;
        const before = sent.length;
        await world.clock.pass(500);
        assert.ok(sent.length - before < 5, `${what}: ${sent.length - before} frames`);
        assert.ok(world.events.every(({ type, channel }) => typeof type === 'string' && typeof channel === 'string'));
        for (const { where } of world.errors) assert.notEqual(where, 'listener', what);
        // The client still works: the next socket reaches Ready.
        world.socket.end(4002);
        const { length } = world.sockets;
        if (world.client.state === 'waiting') await reconnect(world);
        // The client also obeys a delay of 1e300 ms.
        if (world.client.state === 'waiting') assert.match(what, /"after":1e\+300/);
        if (world.client.state === 'waiting') continue;
        assert.ok(world.sockets.length - length <= 1, what);
        await ready(world, [{ channel: ROOM, position: '5-9' }]);
        assert.deepEqual([world.client.state, room.state], ['connected', 'subscribed'], what);
        world.socket.receive(message(ROOM, 9, '5-10'));
        assert.equal(room.position, '5-10', what);
        world.client.close();
        assert.equal(world.clock.timers, 0, what);
      }
    });
  }

  it('connects if Ready has no valid list of channels', async () => {
    for (const channels of [undefined, null, 'text', {}, 5]) {
      const world = start();
      world.client.subscribe(ROOM);
      world.client.connect();
      await hello(world);
      world.socket.receive({ op: 2, user: '42', channels });
      assert.equal(world.client.state, 'connected');
      await cut(world);
    }
  });

  it('limits the rate of heartbeats whatever Hello says', async () => {
    for (const heartbeat_interval of ODD) {
      const world = start();
      world.client.connect();
      await settled();
      world.socket.receive({ op: 0, heartbeat_interval, limits: LIMITS });
      world.socket.receive({ op: 2, user: '42', channels: [] });
      for (let second = 0; second < 60; second++) {
        await world.clock.pass(1_000);
        world.socket.receive({ op: 11 });
      }
      assert.ok(world.socket.ops(10).length <= 5, `${JSON.stringify(heartbeat_interval)}`);
    }
  });

  it('identifies once if Hello and Ready are repeated', async () => {
    const world = start();
    world.client.connect();
    await hello(world);
    await hello(world);
    assert.equal(world.socket.ops(1).length, 1);
    await ready(world);
    world.socket.receive({ op: 2, user: '43', channels: [] });
    assert.equal(world.client.user, '42');
    assert.equal(world.states.filter(({ state }) => state === 'connected').length, 1);
  });
});
