import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ready, settled, start } from './support/fake.mjs';

/** A client that was ready and whose socket has just closed. */
async function ended(code, options, reason) {
  const world = start(options);
  world.client.connect();
  await ready(world);
  world.socket.end(code, reason);
  return world;
}

describe('the close codes', () => {
  const ALLOWED = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012];
  ALLOWED.push(4001, 4002, 4004, 4005, 4006, 4007, 4008, 4999);

  for (const code of ALLOWED) {
    it(`${code}: reconnects`, async () => {
      const world = await ended(code);
      assert.equal(world.client.state, 'waiting');
      assert.equal(world.states.at(-1).code, code);
      await world.clock.pass(world.states.at(-1).retryInMs);
      assert.equal(world.sockets.length, 2);
    });
  }

  for (const code of [4003, 4010]) {
    it(`${code}: never reconnects by itself`, async () => {
      const world = await ended(code, { token: () => 'token' }, 'no more');
      assert.deepEqual(world.states.at(-1), { state: 'closed', attempts: 0, code, reason: 'no more' });
      for (const why of ['online', 'visible', 'pageshow']) world.wake(why);
      world.client.wake();
      world.client.subscribe('room:7');
      await world.clock.pass(10_000_000);
      assert.equal(world.sockets.length, 1);
      assert.equal(world.clock.timers, 0);
    });
  }

  it('4003: reconnects with a new token when the app calls connect()', async () => {
    const reasons = [];
    const world = await ended(4003, { token: (reason) => `token ${reasons.push(reason)}` });
    world.client.connect();
    const identify = await ready(world);
    assert.deepEqual(reasons, ['connect', 'refused']);
    assert.equal(identify.token, 'token 2');
  });

  it('4009: reconnects with a new token', async () => {
    const reasons = [];
    const world = await ended(4009, { token: (reason) => `token ${reasons.push(reason)}` });
    await world.clock.pass(1_000);
    const identify = await ready(world);
    assert.deepEqual(reasons, ['connect', 'expired']);
    assert.equal(identify.token, 'token 2');
  });

  it('4009: does not reconnect with the same token', async () => {
    const world = await ended(4009);
    assert.equal(world.client.state, 'closed');
  });
});

describe('the back-off', () => {
  const waits = async (random, code = 1006) => {
    const world = start();
    world.setRandom(random);
    world.client.connect();
    const found = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      await settled();
      world.socket.end(code);
      const { retryInMs } = world.states.at(-1);
      found.push(retryInMs);
      await world.clock.pass(retryInMs);
    }
    return found;
  };

  it('is random below a bound that doubles up to 30 s', async () => {
    const bounds = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000];
    assert.deepEqual(
      await waits(0),
      bounds.map(() => 0),
    );
    assert.deepEqual(
      await waits(0.25),
      bounds.map((bound) => bound / 4),
    );
    assert.deepEqual(await waits(1), bounds);
  });

  it('is long at once after the message budget was exceeded', async () => {
    assert.deepEqual((await waits(0, 4007)).slice(0, 2), [15_000, 15_000]);
    assert.deepEqual((await waits(1, 4007)).slice(0, 2), [30_000, 30_000]);
  });

  it('is spread over some seconds when a replica shuts down', async () => {
    assert.deepEqual((await waits(1, 1012)).slice(0, 4), [3_000, 3_000, 4_000, 8_000]);
  });

  it('is reset only after a stable connection', async () => {
    const world = start();
    world.setRandom(1);
    world.client.connect();
    const round = async (lastsMs) => {
      await ready(world);
      world.socket.receive({ op: 11 });
      await world.clock.pass(lastsMs);
      world.socket.end(1006);
      const { retryInMs } = world.states.at(-1);
      await world.clock.pass(retryInMs);
      return retryInMs;
    };
    assert.equal(await round(0), 1_000);
    assert.equal(await round(9_999), 2_000);
    assert.equal(await round(10_000), 1_000);
  });

  it('makes one attempt at a time', async () => {
    const world = await ended(1006);
    for (let turn = 0; turn < 5; turn++) world.wake('online');
    world.client.connect();
    await world.clock.pass(0);
    assert.equal(world.sockets.length, 2);
  });
});

describe('op 7', () => {
  it('sets the exact delay', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 7, after: 1_800, reason: 'draining' });
    await world.clock.pass(100);
    world.socket.end(1012);
    assert.equal(world.states.at(-1).retryInMs, 1_700);
    world.wake('online');
    await world.clock.pass(1_699);
    assert.equal(world.sockets.length, 1, 'no earlier, although the network is back');
    await world.clock.pass(1);
    assert.equal(world.sockets.length, 2);
  });

  it('applies without a Close frame as well', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 11 });
    world.socket.receive({ op: 7, after: 1_800, reason: 'draining' });
    await world.clock.pass(1_800);
    assert.equal(world.sockets.length, 2);
    assert.ok(world.sockets[0].isClosed);
  });

  it('applies to the next attempt only', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 7, after: 1_800, reason: 'draining' });
    world.socket.end(1012);
    await world.clock.pass(1_800);
    world.setRandom(1);
    world.socket.end(1006);
    assert.equal(world.states.at(-1).retryInMs, 1_000);
  });
});

describe('waking up', () => {
  it('ends the delay', async () => {
    for (const why of ['online', 'visible', 'pageshow', 'resume']) {
      const world = await ended(1006);
      world.wake(why);
      await settled();
      assert.equal(world.sockets.length, 2, why);
    }
  });

  it('does not end a delay that the gateway requested', async () => {
    for (const code of [4007, 1012]) {
      const world = await ended(code);
      world.wake('online');
      await settled();
      assert.equal(world.sockets.length, 1, String(code));
    }
  });

  it('checks that the socket is alive', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.socket.receive({ op: 11 });
    await world.clock.pass(5_000);
    const before = world.socket.ops(10).length;
    world.wake('visible');
    world.wake('online');
    assert.equal(world.socket.ops(10).length, before + 1, 'one heartbeat for both');
    await world.clock.pass(10_000);
    assert.equal(world.client.state, 'waiting');
  });

  it('ignores a heartbeat answer sent before it', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.wake('visible');
    assert.equal(world.socket.ops(10).length, 1);
    // The answer to the first heartbeat arrives, then the network fails.
    world.socket.receive({ op: 11 });
    assert.equal(world.socket.ops(10).length, 2);
    await world.clock.pass(10_000);
    assert.equal(world.client.state, 'waiting');
  });
});

describe('tokens', () => {
  it('are renewed before they expire, without reconnecting', async () => {
    const reasons = [];
    const world = start({ token: (reason) => Promise.resolve(`token ${reasons.push(reason)}`) });
    world.client.connect();
    await ready(world, [], { expires_in: 100_000 });
    world.socket.receive({ op: 11 });
    await passAnswered(world, 80_000);
    assert.deepEqual(world.socket.ops(12), []);
    await passAnswered(world, 10_000);
    assert.deepEqual(world.socket.ops(12), [{ op: 12, token: 'token 2' }]);
    world.socket.receive({ op: 13, expires_in: 100_000 });
    await passAnswered(world, 90_000);
    assert.deepEqual(reasons, ['connect', 'refresh', 'refresh']);
    assert.equal(world.sockets.length, 1);
  });

  it('are requested again when the gateway refuses one', async () => {
    const world = start({ token: () => 'token' });
    world.client.connect();
    await ready(world, [], { expires_in: 100_000 });
    await passAnswered(world, 90_000);
    world.socket.receive({ op: 9, code: 'refresh_failed', detail: 'the token is not valid for this user' });
    assert.equal(world.errors[0].where, 'refresh_failed');
    await passAnswered(world, 10_000);
    assert.equal(world.socket.ops(12).length, 2);
  });

  it('that fail are reported and retried with back-off', async () => {
    let fails = true;
    const world = start({
      token: () => {
        if (fails) throw new Error('the login server is down');
        return 'token';
      },
    });
    world.client.connect();
    await settled();
    assert.equal(world.client.state, 'waiting');
    assert.equal(world.errors[0].where, 'token');
    fails = false;
    await world.clock.pass(1_000);
    await ready(world);
    assert.equal(world.client.state, 'connected');
  });

  it('that never arrive time out', async () => {
    const world = start({ token: () => new Promise(() => {}) });
    world.client.connect();
    await world.clock.pass(15_000);
    assert.equal(world.client.state, 'waiting');
  });

  it('of null close the client', async () => {
    const world = start({ token: async () => null });
    world.client.connect();
    await settled();
    assert.deepEqual(world.states.at(-1), { state: 'closed', attempts: 0, reason: 'no token' });
  });

  it('that arrive too late are not used', async () => {
    const answers = [];
    const world = start({ token: () => new Promise((resolve) => answers.push(resolve)) });
    world.client.connect();
    await settled();
    world.client.close();
    world.client.connect();
    await settled();
    answers[1]('new');
    await settled();
    answers[0]('old');
    const identify = await ready(world);
    assert.equal(identify.token, 'new');
    assert.equal(world.sockets.length, 1);
  });

  it('may live longer than a timer can hold', async () => {
    const world = start({ token: () => 'token' });
    world.client.connect();
    await ready(world, [], { expires_in: 365 * 86_400_000 });
    await passAnswered(world, 60_000);
    assert.equal(world.socket.ops(12).length, 0);
  });
});

/** Passes time while the gateway answers every heartbeat. */
async function passAnswered(world, ms) {
  for (let passed = 0; passed < ms; passed += 5_000) {
    await world.clock.pass(Math.min(5_000, ms - passed));
    world.socket.receive({ op: 11 });
  }
}
