import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hello, LIMITS, message, ready, settled, start } from './support/fake.mjs';

describe('connecting', () => {
  it('asks for version 2, identifies after Hello, and says each state', async () => {
    const world = start({ url: 'wss://gateway.test/gateway?x=1#part' });
    assert.equal(world.client.state, 'idle');
    world.client.connect();
    const identify = await ready(world);
    assert.equal(world.socket.url, 'wss://gateway.test/gateway?x=1&v=2');
    assert.deepEqual(identify, { op: 1, token: 'secret-token', channels: [] });
    assert.deepEqual(
      world.states.map(({ state }) => state),
      ['connecting', 'connected'],
    );
    assert.equal(world.client.user, '42');
  });

  it('refuses a URL that is not of a WebSocket', () => {
    for (const url of ['http://gateway.test', 'gateway.test', 'ws://', '']) {
      assert.throws(() => start({ url }), TypeError, url);
    }
  });

  it('gives a socket up that is not ready in time, and tries again', async () => {
    const world = start();
    world.client.connect();
    await hello(world);
    await world.clock.pass(14_999);
    assert.equal(world.client.state, 'connecting');
    await world.clock.pass(1);
    assert.equal(world.client.state, 'waiting');
    assert.ok(world.socket.isClosed);
  });

  it('ends quietly when the app closes it, leaves no timer, and can be connected again', async () => {
    const world = start();
    world.client.subscribe('room:7');
    world.client.connect();
    await ready(world, [{ channel: 'room:7', position: '5-0' }]);
    world.client.close();
    assert.equal(world.socket.closedWith, 1000);
    assert.equal(world.clock.timers, 0);
    await world.clock.pass(1_000_000);
    assert.equal(world.sockets.length, 1);
    world.client.connect();
    const identify = await ready(world);
    assert.deepEqual(
      identify.channels.map(({ channel }) => channel),
      ['user:42', 'all'],
    );
    assert.equal(world.client.state, 'connected');
  });

  it('may be closed by a listener at any moment', async () => {
    for (const state of ['connecting', 'connected', 'waiting']) {
      const world = start();
      world.client.on('state', (event) => event.state === state && world.client.close());
      world.client.connect();
      await settled();
      if (world.socket) await ready(world);
      world.socket?.end(1006);
      await world.clock.pass(1_000_000);
      assert.equal(world.client.state, 'closed', state);
      assert.equal(world.clock.timers, 0, state);
      assert.ok(world.sockets.length <= 1, state);
    }
  });

  it('hears nothing of a socket that it has given up', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const { onmessage, onclose } = world.socket;
    world.socket.end(1006);
    assert.equal(world.socket.onmessage, null);
    await world.clock.pass(10_000);
    onclose({ code: 1006 });
    onmessage?.({ data: JSON.stringify(message('all', 1)) });
    assert.equal(world.sockets.length, 2);
    assert.equal(world.events.filter(({ type }) => type === 'message').length, 0);
  });

  it('says that there is no WebSocket instead of trying for ever', async () => {
    const world = start({ WebSocket: undefined, environment: { WebSocket: undefined, random: () => 0.5 } });
    world.client.connect();
    await settled();
    assert.equal(world.client.state, 'closed');
    assert.match(String(world.errors[0].error), /no WebSocket/);
  });

  it('drops a socket that sends what is no JSON', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive('{"op":3,');
    assert.equal(world.client.state, 'waiting');
    assert.ok(world.socket.isClosed);
  });

  it('passes over ops that a later gateway adds', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 99, more: [] });
    assert.equal(world.client.state, 'connected');
  });
});

describe('heartbeats', () => {
  it('answers those of the gateway, with their time', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 10, time: 1_579_276_740_336 });
    assert.deepEqual(world.socket.ops(11), [{ op: 11, time: 1_579_276_740_336 }]);
  });

  it('measures the latency from the beginning, and then with each', async () => {
    const world = start();
    const heard = [];
    world.client.on('latency', (latencyMs) => heard.push(latencyMs));
    world.client.connect();
    await ready(world);
    for (const latencyMs of [35, 80]) {
      const beat = world.socket.ops(10).at(-1);
      await world.clock.pass(latencyMs);
      world.socket.receive({ op: 11, time: beat.time });
      await world.clock.pass(45_000 - latencyMs);
    }
    assert.deepEqual(heard, [35, 80]);
    assert.equal(world.client.latencyMs, 80);
  });

  it('gives up a socket that does not answer', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.pass(9_999);
    assert.equal(world.client.state, 'connected');
    await world.clock.pass(1);
    assert.equal(world.client.state, 'waiting');
    assert.equal(world.states.at(-1).reason, 'no heartbeat');
  });

  it('takes any frame for a sign of life', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.pass(5_000);
    world.socket.receive(message('all', 1));
    await world.clock.pass(5_000);
    assert.equal(world.client.state, 'connected');
    assert.equal(world.socket.ops(10).length, 2, 'it asks again');
  });

  it('asks once more after the machine has slept', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.sleep(3_600_000);
    assert.equal(world.client.state, 'connected');
    assert.equal(world.socket.ops(10).length, 2);
    await world.clock.pass(10_000);
    assert.equal(world.client.state, 'waiting', 'and it was dead');
  });
});

describe('the budget of messages', () => {
  const names = (count) => Array.from({ length: count }, (_, n) => `room:${n}`);

  it('puts what is wanted before it is ready into Identify', async () => {
    const world = start();
    names(100).forEach((name) => world.client.subscribe(name));
    world.client.connect();
    const identify = await ready(
      world,
      names(100).map((channel) => ({ channel, position: '1-0' })),
    );
    assert.equal(identify.channels.length, 100);
    assert.equal(world.socket.ops(4).length, 0);
  });

  it('never sends more in a minute than Hello allows, whatever the app asks for', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const times = [];
    const { send } = Object.getPrototypeOf(world.socket);
    world.socket.send = function (text) {
      times.push(world.clock.time);
      send.call(this, text);
      const { op, channel, time } = JSON.parse(text);
      if (op === 10) this.receive({ op: 11, time });
      if (op === 4) this.receive({ op: 6, channel, state: 'subscribed', position: '1-0' });
    };
    world.socket.receive({ op: 11, time: world.clock.time });
    names(300).forEach((name) => world.client.subscribe(name));
    for (let second = 0; second < 400; second++) {
      await world.clock.pass(1_000);
      if (second % 45 === 0) world.socket.receive({ op: 10, time: 1 });
    }
    assert.equal(world.socket.ops(4).length, 300, 'all are asked for in the end');
    for (const [index, time] of times.entries()) {
      const inMinute = times.slice(index).filter((other) => other - time < 60_000).length;
      assert.ok(inMinute <= LIMITS.messages_per_minute - 4, `${inMinute} in one minute`);
    }
  });

  it('sends nothing for what cancels itself out', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    for (let turn = 0; turn < 1_000; turn++) world.client.subscribe('room:7').unsubscribe();
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
  });

  it('asks later for what does not fit into the longest message', async () => {
    const world = start();
    const long = names(400).map((name) => name + 'x'.repeat(200));
    long.forEach((name) => world.client.subscribe(name));
    world.client.connect();
    const identify = await hello(world);
    assert.ok(JSON.stringify(identify).length <= LIMITS.message_bytes);
    assert.ok(identify.channels.length > 200);
    world.socket.receive({
      op: 2,
      user: '42',
      channels: identify.channels.map(({ channel }) => ({ channel, position: '1-0' })),
    });
    await settled();
    assert.ok(world.socket.ops(4).length > 0);
  });
});

describe('the debug log', () => {
  it('tells what happens, and never a token or a message', async () => {
    const world = start({ token: () => 'secret-token' });
    world.client.subscribe('room:7');
    world.client.connect();
    await ready(world, [{ channel: 'room:7', position: '5-0' }], { expires_in: 100_000 });
    world.socket.receive({ ...message('room:7', 1, '5-1'), message: 'private words' });
    await world.clock.pass(95_000);
    world.socket.end(1006);
    const text = JSON.stringify(world.logs);
    assert.match(text, /connected/);
    assert.match(text, /waiting/);
    assert.doesNotMatch(text, /secret-token|private words/);
  });

  it('that throws changes nothing', async () => {
    const world = start({
      log: () => {
        throw new Error('the log is full');
      },
    });
    world.client.connect();
    await ready(world);
    world.socket.end(1006);
    await world.clock.pass(world.states.at(-1).retryInMs);
    await ready(world);
    assert.equal(world.client.state, 'connected');
  });
});
