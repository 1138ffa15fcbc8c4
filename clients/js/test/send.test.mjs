// Sending messages to the backend: acknowledgements, repeats, refusals, order.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, ready, settled, start } from './support/fake.mjs';

const { MessageError, queued, send } = await import(
  process.env.CLIENT ? '../dist/bundle/gateway-messages.js' : '../dist/messages.js'
);

const ROOM = 'room:7';
const text = (value) => ({ text: value });

/** A connected client, with fake timers also for what waits. */
async function connected(test, options) {
  test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  const world = start(options);
  world.client.connect();
  await ready(world);
  return world;
}

/** Connects again after the socket was lost. */
async function reconnect(world, code = 1006) {
  world.socket.end(code);
  await world.clock.pass(world.states.at(-1).retryInMs);
  await ready(world);
}

const sent = (world) => world.sockets.flatMap((socket) => socket.ops(16));
const acknowledge = async (world, id = world.socket.ops(16).at(-1).id) => {
  world.socket.receive({ op: 17, id });
  await settled();
};
const refuse = async (world, code, more) => {
  world.socket.receive({ op: 9, code, detail: 'because', id: world.socket.ops(16).at(-1).id, ...more });
  await settled();
};

/** Records how a promise settles. */
function watch(promise) {
  const result = { value: undefined, error: undefined, isDone: false };
  promise.then(
    (value) => Object.assign(result, { value, isDone: true }),
    (error) => Object.assign(result, { error, isDone: true }),
  );
  return result;
}

describe('a message', () => {
  it('resolves with its id when the gateway acknowledges it', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, text('one')));
    await settled();
    const [frame] = sent(world);
    assert.deepEqual(frame, { op: 16, id: frame.id, channel: ROOM, message: text('one') });
    assert.match(frame.id, /^[!-~]{1,64}$/);
    assert.equal(result.isDone, false);
    await acknowledge(world);
    assert.equal(result.value, frame.id);
    assert.equal(queued(world.client), 0);
  });

  it('is sent as it was when the app called', async (test) => {
    const world = await connected(test);
    const message = text('one');
    watch(send(world.client, ROOM, text('zero')));
    watch(send(world.client, ROOM, message));
    message.text = 'changed';
    await acknowledge(world);
    assert.deepEqual(sent(world)[1].message, text('one'));
  });

  it('with half of a surrogate pair does not end the session', async (test) => {
    const world = await connected(test);
    const cutText = ['\ud83d', 'a\ude00b', '😀', '\\ud83d', '\\\ud83d'];
    watch(send(world.client, ROOM, cutText));
    assert.deepEqual(sent(world)[0].message, ['\ufffd', 'a\ufffdb', '😀', '\\ud83d', '\\\ufffd']);
  });

  it('waits until the client is connected', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const world = start();
    const result = watch(send(world.client, ROOM, text('early')));
    world.client.connect();
    await ready(world);
    await acknowledge(world);
    assert.ok(result.value);
  });

  it('is not counted as a message of the session', async (test) => {
    const world = await connected(test);
    for (let n = 0; n < 150; n++) {
      const result = watch(send(world.client, ROOM, n));
      await acknowledge(world);
      assert.ok(result.value);
    }
    world.client.subscribe(ROOM);
    await settled();
    assert.equal(world.socket.ops(4).length, 1);
  });

  for (const [when, cutAt] of [
    ['before it is sent', 'queued'],
    ['after it was sent', 'sent'],
    ['while it is written', 'writing'],
    ['while it waits for a busy gateway', 'busy'],
    ['twice after it was sent', 'twice'],
  ]) {
    it(`is acknowledged once if the connection is cut ${when}`, async (test) => {
      const world = await connected(test);
      if (cutAt === 'queued') world.socket.end(1006);
      if (cutAt === 'writing') world.socket.failsToSend = true;
      const result = watch(send(world.client, ROOM, text('one')));
      await settled();
      if (cutAt === 'busy') await refuse(world, 'busy', { after: 100 });
      if (cutAt === 'queued' || cutAt === 'writing') await world.clock.pass(world.states.at(-1).retryInMs).then(() => ready(world));
      else await reconnect(world);
      if (cutAt === 'twice') await reconnect(world);
      test.mock.timers.tick(1_000);
      await acknowledge(world);
      const ids = sent(world).map(({ id }) => id);
      assert.equal(ids.length, { queued: 1, sent: 2, writing: 1, busy: 2, twice: 3 }[cutAt]);
      assert.equal(new Set(ids).size, 1, 'every attempt has the same id');
      assert.equal(result.value, ids[0]);
      await reconnect(world);
      assert.equal(world.socket.ops(16).length, 0, 'it is not repeated after the acknowledgement');
    });
  }

  it('is repeated if the gateway does not answer', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, text('one')));
    test.mock.timers.tick(30_000);
    test.mock.timers.tick(1_000);
    assert.equal(sent(world).length, 2);
    await acknowledge(world);
    assert.ok(result.value);
  });

  it('may be acknowledged late, while it waits to be repeated', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, text('one')));
    test.mock.timers.tick(30_000);
    await acknowledge(world);
    assert.ok(result.value);
    test.mock.timers.tick(60_000);
    assert.equal(sent(world).length, 1);
  });

  it('is not repeated when the gateway may have forgotten its id', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, text('one'), { repeatMs: 60_000 }));
    world.socket.end(1006);
    test.mock.timers.tick(60_001);
    await world.clock.pass(30_000);
    await ready(world);
    assert.deepEqual([result.error.code, result.error.mayBeStored], ['unconfirmed', true]);
    assert.equal(result.error.id, sent(world)[0].id);
    assert.equal(world.socket.ops(16).length, 0);
  });

  it('may be sent again with the id of an earlier attempt', async (test) => {
    const world = await connected(test);
    watch(send(world.client, ROOM, text('one'), { id: 'mine' }));
    await settled();
    assert.equal(sent(world)[0].id, 'mine');
    for (const id of ['', 'two words', 'x'.repeat(65), 7]) {
      await assert.rejects(send(world.client, ROOM, text('one'), { id }), TypeError);
    }
  });

  it('has an id that no other client uses', async (test) => {
    const ids = new Set();
    for (let n = 0; n < 50; n++) {
      test.mock.timers.reset();
      const world = await connected(test);
      watch(send(world.client, ROOM, n));
      ids.add(sent(world)[0].id);
      world.client.close();
    }
    assert.equal(ids.size, 50);
  });

  it('that is not JSON or has no channel is refused alone', async (test) => {
    const world = await connected(test);
    const loop = {};
    loop.loop = loop;
    for (const message of [undefined, () => {}, loop, 1n]) await assert.rejects(send(world.client, ROOM, message), TypeError);
    for (const channel of ['', 'two words', 7, undefined]) {
      await assert.rejects(send(world.client, channel, 1), { code: 'bad_channel' });
    }
    assert.equal(sent(world).length, 0);
  });
});

describe('messages', () => {
  it('are sent one at a time, in order', async (test) => {
    const world = await connected(test);
    const results = [1, 2, 3].map((n) => watch(send(world.client, ROOM, n)));
    await settled();
    assert.deepEqual(sent(world).map(({ message }) => message), [1]);
    await refuse(world, 'busy', { after: 500 });
    test.mock.timers.tick(600);
    await acknowledge(world);
    await reconnect(world);
    await acknowledge(world);
    await acknowledge(world);
    assert.deepEqual(sent(world).map(({ message }) => message), [1, 1, 2, 2, 3]);
    assert.ok(results.every(({ value }) => value));
  });

  it('that are too many are refused at once', async (test) => {
    const world = await connected(test);
    const results = Array.from({ length: 100 }, (_, n) => watch(send(world.client, ROOM, n)));
    await assert.rejects(send(world.client, ROOM, 'full'), { name: 'MessageError', code: 'queue_full', mayBeStored: false });
    await assert.rejects(send(world.client, ROOM, 'full', { maxQueued: 10 }), { code: 'queue_full' });
    watch(send(world.client, ROOM, 'more', { maxQueued: 101 }));
    assert.equal(queued(world.client), 101);
    for (let n = 0; n < 101; n++) await acknowledge(world);
    assert.ok(results.every(({ value }) => value));
    assert.equal(queued(world.client), 0);
  });

  it('of another user are not sent after a new login', async (test) => {
    let user = '42';
    const world = await connected(test, { token: () => user });
    const result = watch(send(world.client, ROOM, 'private'));
    const waiting = watch(send(world.client, ROOM, 'also'));
    user = '43';
    world.socket.end(4009);
    const later = watch(send(world.client, ROOM, 'written before the new session'));
    await world.clock.pass(30_000);
    world.socket.receive({ op: 0, heartbeat_interval: 45_000 });
    await settled();
    world.socket.receive({ op: 2, user: '43', channels: [] });
    await settled();
    assert.deepEqual([result, waiting, later].map(({ error }) => error.code), ['user_changed', 'user_changed', 'user_changed']);
    assert.deepEqual([result, waiting].map(({ error }) => error.mayBeStored), [true, false]);
    const next = watch(send(world.client, ROOM, 'mine'));
    await acknowledge(world);
    assert.ok(next.value);
    assert.deepEqual(world.socket.ops(16).map(({ message }) => message), ['mine']);
  });

  it('written after a logout belong to the next user', async (test) => {
    const world = await connected(test);
    watch(send(world.client, ROOM, 1));
    await acknowledge(world);
    world.client.close();
    world.client.connect();
    const result = watch(send(world.client, ROOM, 2));
    await settled();
    world.socket.receive({ op: 0, heartbeat_interval: 45_000 });
    await settled();
    world.socket.receive({ op: 2, user: '43', channels: [] });
    await acknowledge(world);
    assert.ok(result.value);
  });

  it('survive an expired token', async (test) => {
    const world = await connected(test, { token: async () => 'secret-token' });
    const result = watch(send(world.client, ROOM, 1));
    await reconnect(world, 4009);
    await acknowledge(world);
    assert.ok(result.value);
  });

  it('are rejected when the client closes', async (test) => {
    const world = await connected(test);
    const results = [1, 2].map((n) => watch(send(world.client, ROOM, n)));
    world.client.close();
    await settled();
    assert.ok(results.every(({ error }) => error instanceof MessageError && error.code === 'closed'));
    assert.deepEqual(results.map(({ error }) => error.mayBeStored), [true, false]);
    await assert.rejects(send(world.client, ROOM, 3), { code: 'closed' });
  });

  it('are rejected when the gateway ends the session for good', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, 1));
    world.socket.end(4010, 'banned');
    await settled();
    assert.equal(result.error.code, 'closed');
  });
});

describe('a refusal', () => {
  for (const code of ['not_allowed', 'too_big', 'new_code']) {
    it(`with ${code} rejects the message, and the next one is sent`, async (test) => {
      const world = await connected(test);
      const [result, next] = [1, 2].map((n) => watch(send(world.client, ROOM, n)));
      await refuse(world, code);
      const { error } = result;
      assert.deepEqual([error.code, error.message, error.mayBeStored], [code, 'because', false]);
      await acknowledge(world);
      assert.ok(next.value);
      assert.deepEqual(world.errors, []);
    });
  }

  it('with busy is repeated after the time of the gateway', async (test) => {
    const world = await connected(test);
    const result = watch(send(world.client, ROOM, 1));
    await refuse(world, 'busy', { after: 5_000 });
    test.mock.timers.tick(4_999);
    assert.equal(sent(world).length, 1);
    test.mock.timers.tick(1_001);
    assert.equal(sent(world).length, 2);
    await acknowledge(world);
    assert.ok(result.value);
  });

  for (const code of ['unavailable', 'rate_limited']) {
    it(`with ${code} is repeated with a back-off`, async (test) => {
      const world = await connected(test);
      const result = watch(send(world.client, ROOM, 1));
      for (const [attempt, boundMs] of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
        assert.equal(sent(world).length, attempt + 1);
        await refuse(world, code);
        test.mock.timers.tick(boundMs / 2 - 1);
        assert.equal(sent(world).length, attempt + 1);
        test.mock.timers.tick(boundMs / 2 + 1);
      }
      await acknowledge(world);
      assert.ok(result.value);
      watch(send(world.client, ROOM, 2));
      await refuse(world, code);
      const before = sent(world).length;
      test.mock.timers.tick(1_000);
      assert.equal(sent(world).length, before + 1, 'the back-off starts again');
    });
  }

  for (const [closeCode, code] of [[1009, 'too_big'], [4001, 'malformed']]) {
    it(`by the close code ${closeCode} does not end every session`, async (test) => {
      const world = await connected(test);
      const [result, next] = [1, 2].map((n) => watch(send(world.client, ROOM, n)));
      await reconnect(world, closeCode);
      assert.equal(result.error.code, code);
      await acknowledge(world);
      assert.ok(next.value);
    });
  }
});

describe('an abort signal', () => {
  it('takes back a message that waits', async (test) => {
    const world = await connected(test);
    const abort = new AbortController();
    const results = [watch(send(world.client, ROOM, 1)), watch(send(world.client, ROOM, 2, { signal: abort.signal }))];
    const last = watch(send(world.client, ROOM, 3));
    abort.abort(new Error('mine'));
    await settled();
    assert.equal(results[1].error.message, 'mine');
    await acknowledge(world);
    await acknowledge(world);
    assert.ok(last.value);
    assert.deepEqual(sent(world).map(({ message }) => message), [1, 3]);
  });

  it('ends the repeats of a message, and the next one is sent', async (test) => {
    const world = await connected(test);
    const abort = new AbortController();
    const result = watch(send(world.client, ROOM, 1, { signal: abort.signal }));
    const next = watch(send(world.client, ROOM, 2));
    const { id } = sent(world)[0];
    abort.abort();
    await settled();
    assert.equal(result.error.name, 'AbortError');
    assert.equal(sent(world).length, 2);
    await acknowledge(world, id);
    assert.equal(next.isDone, false, 'a late answer is for the first one');
    await acknowledge(world);
    assert.ok(next.value);
    await reconnect(world);
    assert.equal(world.socket.ops(16).length, 0);
  });

  it('that was aborted before sends nothing', async (test) => {
    const world = await connected(test);
    await assert.rejects(send(world.client, ROOM, 1, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    assert.equal(sent(world).length, 0);
  });

  it('has no listeners after the acknowledgement', async (test) => {
    const world = await connected(test);
    const abort = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    abort.signal.addEventListener = (...given) => (listeners++, addEventListener.apply(abort.signal, given));
    abort.signal.removeEventListener = (...given) => (listeners--, removeEventListener.apply(abort.signal, given));
    watch(send(world.client, ROOM, 1, { signal: abort.signal }));
    await acknowledge(world);
    assert.equal(listeners, 0);
  });
});
