// Input of the client: from the app, from its token function, and from the gateway.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GatewayClient } from '../dist/index.js';
import { cut, hello, LIMITS, message, ready, settled, start } from './support/fake.mjs';
import { ODD, oddFrames, ROOM } from './support/odd.mjs';

/** Time passes until the next attempt, if there is one. */
const comeBack = (world) => world.clock.pass(Math.min(world.states.at(-1).retryInMs ?? 60_000, 60_000));

describe('what the app asks for', () => {
  it('takes `since: null` for no since', async () => {
    const world = start();
    for (const options of [{ since: null }, { since: undefined }, null, undefined]) {
      world.client.subscribe(ROOM, options);
    }
    world.client.connect();
    assert.deepEqual((await hello(world)).channels, [{ channel: ROOM }]);
  });

  it('refuses channels and positions that cannot be asked for, alone', async () => {
    const world = start();
    const long = `room:${'x'.repeat(251)}`;
    const bad = [7, {}, null, undefined, true, ['room:1'], '', 'two words', 'room:{1}', 'room:ä', long];
    const refused = bad.map((name) => world.client.subscribe(name));
    const badSince = [5, {}, true, [], 'x'.repeat(256)].map((since) => world.client.subscribe(ROOM, { since }));
    const good = world.client.subscribe(`room:${'x'.repeat(250)}`);
    const heard = [];
    [...refused, ...badSince].forEach((one) => one.on('refused', ({ reason }) => heard.push(reason)));
    world.client.connect();
    const identify = await ready(world, [{ channel: good.channel, position: '1-0' }]);
    assert.deepEqual(identify.channels, [{ channel: good.channel }]);
    await world.clock.pass(0);
    assert.deepEqual(heard, [...bad.map(() => 'bad_channel'), ...badSince.map(() => 'bad_since')]);
    assert.ok([...refused, ...badSince].every(({ state }) => state === 'refused'));
    assert.deepEqual([good.state, world.client.state], ['subscribed', 'connected']);
    [...refused, ...badSince].forEach((one) => one.unsubscribe());
    assert.equal(refused[0].state, 'closed');
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
  });

  it('refuses a token that is no text, and none at all', () => {
    for (const token of [undefined, null, 42, {}, true]) {
      assert.throws(() => new GatewayClient({ url: 'ws://gateway.test/', token }), TypeError);
    }
  });
});

describe('what a token function brings', () => {
  for (const rubbish of [42, 0, false, true, {}, ['token'], () => 'token', Symbol('token')]) {
    it(`is an error if it is no token: ${String(rubbish) || '[]'}`, async () => {
      let answer = rubbish;
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

  it('is an error if a refresh brings rubbish, and the session goes on', async () => {
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
    it(`ends it if there is none: ${JSON.stringify(none)}`, async () => {
      const world = start({ token: () => none });
      world.client.connect();
      await settled();
      assert.equal(world.states.at(-1).reason, 'no token');
      assert.equal(world.client.state, 'closed');
    });
  }
});

describe('an Identify that the gateway refuses', () => {
  for (const code of [1003, 1007, 1009, 4001]) {
    it(`${code} three times in a row is final, with an error`, async () => {
      const world = start();
      world.client.connect();
      for (let turn = 1; turn <= 3; turn++) {
        await hello(world);
        world.socket.end(code, 'no good');
        assert.equal(world.client.state, turn < 3 ? 'waiting' : 'closed');
        await comeBack(world);
      }
      assert.equal(world.sockets.length, 3);
      assert.deepEqual([world.states.at(-1).code, world.errors.at(-1).where], [code, 'identify']);
      assert.match(world.errors.at(-1).error.message, new RegExp(`${code}.*no good`));
      world.client.connect();
      await hello(world);
      world.socket.end(code);
      assert.equal(world.client.state, 'waiting', 'it counts from the beginning');
    });
  }

  it('counts in a row only, and before Ready only', async () => {
    const world = start();
    world.client.connect();
    for (const code of [4001, 1009, 1006, 4001, 1009]) {
      await hello(world);
      world.socket.end(code);
      await comeBack(world);
    }
    await ready(world);
    for (let turn = 0; turn < 5; turn++) {
      world.socket.end(4001);
      await comeBack(world);
      await ready(world);
    }
    assert.equal(world.client.state, 'connected');
  });
});

describe('a WebSocket that fails', () => {
  it('says why, in the state and as an error', async () => {
    const world = start();
    world.client.connect();
    await settled();
    const error = new Error('connect ECONNREFUSED 127.0.0.1:1');
    world.socket.onerror({ error, message: error.message });
    world.socket.end(1006);
    assert.equal(world.states.at(-1).reason, error.message);
    assert.deepEqual(world.errors, [{ where: 'socket', error }]);
  });

  it('says why where there is only a text, as in React Native', async () => {
    const world = start();
    world.client.connect();
    await settled();
    world.socket.onerror({ message: 'Software caused connection abort' });
    world.socket.end(1006);
    assert.equal(world.states.at(-1).reason, 'Software caused connection abort');
  });

  it('without a cause, as in browsers, is no error', async () => {
    const world = start();
    world.client.connect();
    await settled();
    world.socket.onerror({ type: 'error' });
    world.socket.onclose({});
    assert.deepEqual([world.states.at(-1).code, world.states.at(-1).reason, world.errors], [1006, '', []]);
  });
});

describe('a gateway that sends every odd frame', () => {
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
        // Time goes on as it should: no timer runs at once again and again.
        const { sent } = world.socket;
        const before = sent.length;
        await world.clock.pass(500);
        assert.ok(sent.length - before < 5, `${what}: ${sent.length - before} frames`);
        assert.ok(world.events.every(({ type, channel }) => typeof type === 'string' && typeof channel === 'string'));
        for (const { where } of world.errors) assert.notEqual(where, 'listener', what);
        // It is still a client: the next socket brings it to Ready.
        world.socket.end(4002);
        const { length } = world.sockets;
        if (world.client.state === 'waiting') await comeBack(world);
        // A gateway that wants it back in 1e300 ms is obeyed.
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

  it('connects though Ready lists no channels', async () => {
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

  it('beats no faster than it should, whatever Hello says', async () => {
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

  it('identifies once, though there are two Hellos and two Readys', async () => {
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
