import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hello, LIMITS, message, ready, settled, start } from './support/fake.mjs';

describe('connecting', () => {
  it('requests version 2, identifies after Hello, and reports each state', async () => {
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

  it('rejects a URL that is not a WebSocket URL', () => {
    for (const url of ['http://gateway.test', 'gateway.test', 'ws://', '']) {
      assert.throws(() => start({ url }), TypeError, url);
    }
  });

  it('closes a socket that is not ready in time, and retries', async () => {
    const world = start();
    world.client.connect();
    await hello(world);
    await world.clock.pass(14_999);
    assert.equal(world.client.state, 'connecting');
    await world.clock.pass(1);
    assert.equal(world.client.state, 'waiting');
    assert.ok(world.socket.isClosed);
  });

  it('leaves no timer after close(), and can connect again', async () => {
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

  it('can be closed by a listener in any state', async () => {
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

  it('ignores events of a socket that it has closed', async () => {
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

  it('reports a missing WebSocket and does not retry', async () => {
    const world = start({ WebSocket: undefined, environment: { WebSocket: undefined, random: () => 0.5 } });
    world.client.connect();
    await settled();
    assert.equal(world.client.state, 'closed');
    assert.match(String(world.errors[0].error), /no WebSocket/);
  });

  it('closes a socket that sends invalid JSON', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive('{"op":3,');
    assert.equal(world.client.state, 'waiting');
    assert.ok(world.socket.isClosed);
  });

  it('ignores unknown ops', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 99, more: [] });
    assert.equal(world.client.state, 'connected');
  });
});

describe('heartbeats', () => {
  it('answers heartbeats of the gateway with their time', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 10, time: 1_579_276_740_336 });
    assert.deepEqual(world.socket.ops(11), [{ op: 11, time: 1_579_276_740_336 }]);
  });

  it('measures the latency with the first and each later heartbeat', async () => {
    const world = start();
    const received = [];
    world.client.on('latency', (latencyMs) => received.push(latencyMs));
    world.client.connect();
    await ready(world);
    for (const latencyMs of [35, 80]) {
      const beat = world.socket.ops(10).at(-1);
      await world.clock.pass(latencyMs);
      world.socket.receive({ op: 11, time: beat.time });
      await world.clock.pass(45_000 - latencyMs);
    }
    assert.deepEqual(received, [35, 80]);
    assert.equal(world.client.latencyMs, 80);
  });

  it('closes a socket that does not answer', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.pass(9_999);
    assert.equal(world.client.state, 'connected');
    await world.clock.pass(1);
    assert.equal(world.client.state, 'waiting');
    assert.equal(world.states.at(-1).reason, 'no heartbeat');
  });

  it('accepts any frame as a sign of life', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.pass(5_000);
    world.socket.receive(message('all', 1));
    await world.clock.pass(5_000);
    assert.equal(world.client.state, 'connected');
    assert.equal(world.socket.ops(10).length, 2, 'the client sends another heartbeat');
  });

  it('sends one more heartbeat after the machine has slept', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    await world.clock.sleep(3_600_000);
    assert.equal(world.client.state, 'connected');
    assert.equal(world.socket.ops(10).length, 2);
    await world.clock.pass(10_000);
    assert.equal(world.client.state, 'waiting', 'the socket was dead');
  });
});

describe('the budget of messages', () => {
  const names = (count) => Array.from({ length: count }, (_, n) => `room:${n}`);

  it('sends channels requested before Ready in Identify', async () => {
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

  it('never sends more per minute than Hello allows', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const times = [];
    const { send } = Object.getPrototypeOf(world.socket);
    world.socket.send = function (text) {
      times.push(world.clock.time);
      send.call(this, text);
      const { op, channels, time } = JSON.parse(text);
      if (op === 10) this.receive({ op: 11, time });
      const answer = ({ channel }) => ({ channel, state: 'subscribed', position: '1-0' });
      if (op === 4) this.receive({ op: 6, channels: channels.map(answer) });
    };
    world.socket.receive({ op: 11, time: world.clock.time });
    const left = names(1_200);
    for (let second = 0; second < 400; second++) {
      // In turns of their own, so that each is a message while the budget lasts.
      for (const name of left.splice(0, 4)) {
        world.client.subscribe(name);
        await settled();
      }
      await world.clock.pass(1_000);
      if (second % 45 === 0) world.socket.receive({ op: 10, time: 1 });
    }
    assert.equal(world.socket.ops(4).length, 1_200, 'all channels are subscribed in the end');
    assert.ok(times.length > 400, `${times.length} messages`);
    for (const [index, time] of times.entries()) {
      const inMinute = times.slice(index).filter((other) => other - time < 60_000).length;
      assert.ok(inMinute <= LIMITS.messages_per_minute - 4, `${inMinute} in one minute`);
    }
  });

  it('sends nothing for requests that cancel each other', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    for (let turn = 0; turn < 1_000; turn++) world.client.subscribe('room:7').unsubscribe();
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
  });

  it('subscribes later to channels that do not fit into Identify', async () => {
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
  it('never contains a token or a message', async () => {
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

  it('may throw without an effect', async () => {
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
