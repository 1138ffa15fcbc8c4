// Stored messages: `last`, pages of the history, and signals.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, hello, message, ready, settled, start } from './support/fake.mjs';

const { allHistory, history, MessageError, signal } = await import(
  process.env.CLIENT ? '../dist/bundle/gateway-messages.js' : '../dist/messages.js'
);

const ROOM = 'room:7';
const state = (position, more) => ({ channel: ROOM, position, ...more });
const summary = (events) =>
  events
    .filter(({ channel }) => channel === ROOM)
    .map(({ type, message, last, position }) => (type === 'message' ? message.n : [type, last, position]));

/** A connected client, subscribed to the room with `last`. */
async function inRoom(options = { last: 50 }, answer = state('3-0', { last: 2 })) {
  const world = start();
  world.room = world.client.subscribe(ROOM, options);
  world.client.connect();
  world.identify = await ready(world, [answer]);
  return world;
}

describe('the last messages', () => {
  it('are requested in Identify, and come first', async () => {
    const world = await inRoom();
    assert.deepEqual(world.identify.channels, [{ channel: ROOM, last: 50 }]);
    for (const n of [4, 5, 6]) world.socket.receive(message(ROOM, n, `${n}-0`));
    assert.deepEqual(summary(world.events), [['subscribed', 2, '3-0'], 4, 5, 6]);
    assert.equal(world.room.position, '6-0');
  });

  it('are requested in Subscribe, and not again after a short cut', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    world.client.subscribe(ROOM, { last: 10 });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, last: 10 }]);
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('3-0', { last: 1 }) }] });
    world.socket.receive(message(ROOM, 4, '4-0'));
    await settled();
    const identify = await cut(world);
    assert.deepEqual(identify.channels.find(({ channel }) => channel === ROOM), { channel: ROOM, since: '4-0', last: 10 });
    world.socket.receive({ op: 2, user: '42', channels: [state('4-0', { recovered: true })] });
    world.socket.receive(message(ROOM, 5, '5-0'));
    await settled();
    assert.deepEqual(summary(world.events), [['subscribed', 1, '3-0'], 4, ['subscribed', undefined, '4-0'], ['recovered', undefined, '4-0'], 5]);
  });

  it('continue where a cut interrupted them', async () => {
    const world = await inRoom();
    world.socket.receive(message(ROOM, 4, '4-0'));
    await settled();
    const identify = await cut(world);
    assert.equal(identify.channels.find(({ channel }) => channel === ROOM).since, '4-0');
  });

  it('are requested again when too much was missed', async () => {
    const world = await inRoom();
    for (const n of [4, 5]) world.socket.receive(message(ROOM, n, `${n}-0`));
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [state('90-0', { recovered: false })] });
    // Messages of before the fresh view are not shown twice.
    world.socket.receive(message(ROOM, 91, '91-0'));
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    world.socket.receive({ op: 6, channels: [{ channel: ROOM, state: 'unsubscribed' }] });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, last: 50 }]);
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('89-0', { last: 2 }) }] });
    for (const n of [90, 91, 92]) world.socket.receive(message(ROOM, n, `${n}-0`));
    await settled();
    assert.deepEqual(summary(world.events), [
      ['subscribed', 2, '3-0'],
      4,
      5,
      ['subscribed', 2, '89-0'],
      ['gap', 2, '89-0'],
      90,
      91,
      92,
    ]);
    assert.equal(world.room.position, '92-0');
  });

  it('are requested again after a cut in the middle of that', async () => {
    const world = await inRoom();
    world.socket.receive(message(ROOM, 4, '4-0'));
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [state('90-0', { recovered: false })] });
    await settled();
    const identify = await cut(world);
    assert.deepEqual(identify.channels.find(({ channel }) => channel === ROOM), { channel: ROOM, last: 50 });
    world.socket.receive({ op: 2, user: '42', channels: [state('89-0', { last: 2 })] });
    await settled();
    assert.deepEqual(summary(world.events).slice(2), [
      ['subscribed', 2, '89-0'],
      ['gap', 2, '89-0'],
    ]);
  });

  it('are not requested again for a channel without `last`', async () => {
    const world = await inRoom({}, state('3-0'));
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [state('90-0', { recovered: false })] });
    await settled();
    assert.equal(world.socket.ops(5).length, 0);
    assert.deepEqual(summary(world.events).at(-1), ['gap', undefined, '90-0']);
  });

  it('are less important than `since`', async () => {
    const world = await inRoom({ since: '3-0', last: 50 }, state('3-0', { recovered: true }));
    assert.deepEqual(world.identify.channels, [{ channel: ROOM, since: '3-0', last: 50 }]);
    assert.deepEqual(summary(world.events), [['subscribed', undefined, '3-0'], ['recovered', undefined, '3-0']]);
  });

  it('of a later user are a fresh view', async () => {
    let user = '42';
    const world = start({ token: () => user });
    world.client.subscribe(ROOM, { last: 50 });
    world.client.connect();
    await ready(world, [state('3-0', { last: 0 })]);
    user = '43';
    const identify = await cut(world);
    assert.deepEqual(identify.channels.find(({ channel }) => channel === ROOM), { channel: ROOM, last: 50 });
  });

  it('come again for a view that is opened again', async () => {
    const world = await inRoom();
    world.socket.receive(message(ROOM, 4, '4-0'));
    world.room.unsubscribe();
    const again = world.client.subscribe(ROOM, { last: 5 });
    const received = [];
    again.on('event', (event) => received.push(event));
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
    world.socket.receive({ op: 6, channels: [{ channel: ROOM, state: 'unsubscribed' }] });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: ROOM, last: 5 }]);
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('3-0', { last: 1 }) }] });
    world.socket.receive(message(ROOM, 4, '4-0'));
    assert.deepEqual(summary(received), [['subscribed', 1, '3-0'], 4]);
  });

  it('are the largest number that the app wants', async () => {
    const world = start();
    for (const last of [10, 50, undefined, 20]) world.client.subscribe(ROOM, { last });
    world.client.connect();
    assert.deepEqual((await hello(world)).channels, [{ channel: ROOM, last: 50 }]);
  });

  it('with an invalid number do not end the session', async () => {
    const world = start();
    const odd = [NaN, null, {}, 'x', 0].map((last, n) => [`room:${n}`, last]);
    for (const [name, last] of [...odd, ['room:half', 2.5], ['room:text', '3']]) world.client.subscribe(name, { last });
    world.client.connect();
    const { channels } = await hello(world);
    assert.deepEqual(channels.slice(0, 5), odd.map(([channel]) => ({ channel })));
    assert.deepEqual(channels.slice(5).map(({ last }) => last), [2, 3]);
  });
});

describe('many channels', () => {
  const names = (count) => Array.from({ length: count }, (_, n) => `room:${n}`);

  it('are subscribed and unsubscribed in one frame each', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const before = world.socket.sent.length;
    const rooms = names(30).map((name) => world.client.subscribe(name, { last: 1 }));
    await settled();
    const [frame] = world.socket.sent.slice(before);
    assert.equal(world.socket.sent.length, before + 1);
    assert.deepEqual(frame, { op: 4, channels: names(30).map((channel) => ({ channel, last: 1 })) });
    const answers = names(30).map((channel, n) =>
      n === 3 ? { channel, state: 'refused', reason: 'not_allowed' } : { channel, state: 'subscribed', position: '1-0' },
    );
    world.socket.receive({ op: 6, channels: answers });
    await settled();
    assert.deepEqual(rooms.map((room) => room.state).filter((state) => state !== 'subscribed'), ['refused']);
    rooms.forEach((room) => room.unsubscribe());
    await settled();
    assert.deepEqual(world.socket.sent.slice(before + 1), [{ op: 5, channels: names(30).filter((_, n) => n !== 3) }]);
  });

  it('are at most 1000 in a frame', async () => {
    const world = start();
    world.client.connect();
    await ready(world, [], { limits: { message_bytes: 0, messages_per_minute: 0 } });
    names(2_500).forEach((name) => world.client.subscribe(name));
    await settled();
    const batches = world.socket.sent.filter(({ op }) => op === 4).map(({ channels }) => channels.length);
    assert.deepEqual(batches, [1_000, 1_000, 500]);
  });

  it('fit into the longest message of the gateway', async () => {
    const world = start();
    world.client.connect();
    await ready(world, [], { limits: { message_bytes: 1_024, messages_per_minute: 0 } });
    const rooms = names(20).map((name) => world.client.subscribe(name + 'x'.repeat(200), { last: 100 }));
    await settled();
    const answer = ({ channel }) => ({ channel, state: 'subscribed', position: '1-0' });
    world.socket.receive({ op: 6, channels: world.socket.ops(4).map(answer) });
    rooms.forEach((room) => room.unsubscribe());
    await settled();
    assert.deepEqual([world.socket.ops(4).length, world.socket.ops(5).length], [20, 20]);
    for (const frame of world.socket.sent) assert.ok(JSON.stringify(frame).length <= 1_024);
  });

  it('that the backend has subscribed are subscribed again', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM);
    await settled();
    world.socket.receive({ op: 6, channels: [{ channel: ROOM, state: 'refused', reason: 'already_subscribed' }] });
    await settled();
    world.socket.receive({ op: 6, channels: [{ channel: ROOM, state: 'unsubscribed' }] });
    await settled();
    assert.equal(world.socket.ops(4).length, 2);
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('1-0') }] });
    await settled();
    assert.equal(room.state, 'subscribed');
    assert.ok(!world.events.some(({ type }) => type === 'refused'));
  });

  it('are answered by odd lists without harm', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM);
    await settled();
    for (const channels of [null, 7, {}, 'x', [], [null, 7, {}, { channel: 5 }, { channel: 'room:8', state: 'subscribed' }]]) {
      world.socket.receive({ op: 6, channels });
    }
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('1-0') }] });
    await settled();
    assert.equal(room.state, 'subscribed');
  });
});

describe('a page of the history', () => {
  const page = (frame, numbers, more) => ({
    op: 20,
    id: frame.id,
    channel: ROOM,
    messages: numbers.map((n) => ({ position: `${n}-0`, message: { n } })),
    more,
  });

  it('has messages, positions and where to continue', async () => {
    const world = await inRoom();
    const first = history(world.client, ROOM, { limit: 2 });
    await settled();
    const [frame] = world.socket.ops(19);
    assert.deepEqual(frame, { op: 19, id: frame.id, channel: ROOM, limit: 2 });
    world.socket.receive(page(frame, [2, 3], true));
    assert.deepEqual(await first, {
      messages: [
        { position: '2-0', message: { n: 2 } },
        { position: '3-0', message: { n: 3 } },
      ],
      more: true,
      before: '2-0',
    });
    const second = history(world.client, ROOM, { before: '2-0' });
    await settled();
    assert.equal(world.socket.ops(19)[1].before, '2-0');
    world.socket.receive(page(world.socket.ops(19)[1], [1], false));
    assert.deepEqual(await second, { messages: [{ position: '1-0', message: { n: 1 } }], more: false, before: undefined });
    assert.equal(world.socket.ops(5).length, 0, 'the app stays subscribed');
  });

  it('is one of an iteration over all of them', async () => {
    const world = await inRoom();
    const pages = [];
    const reading = (async () => {
      for await (const one of allHistory(world.client, ROOM, { limit: 2 })) pages.push(one.messages.map(({ message }) => message.n));
    })();
    for (const [n, numbers] of [[5, 6], [3, 4], [1, 2]].entries()) {
      await settled();
      assert.equal(world.socket.ops(19).length, n + 1);
      world.socket.receive(page(world.socket.ops(19)[n], numbers, n < 2));
    }
    await reading;
    assert.deepEqual(pages, [[5, 6], [3, 4], [1, 2]]);
    assert.deepEqual(world.socket.ops(19).map(({ before }) => before), [undefined, '5-0', '3-0']);
  });

  it('subscribes to the channel while it is read', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const reading = history(world.client, ROOM);
    await settled();
    world.socket.receive({ op: 6, channels: [{ state: 'subscribed', ...state('1-0') }] });
    await settled();
    world.socket.receive(page(world.socket.ops(19)[0], [], false));
    assert.deepEqual(await reading, { messages: [], more: false, before: undefined });
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
  });

  it('is refused with the reason', async () => {
    const world = await inRoom();
    for (const code of ['not_allowed', 'unavailable']) {
      const reading = assert.rejects(history(world.client, ROOM), { name: 'MessageError', code });
      await settled();
      world.socket.receive({ op: 9, code, detail: 'because', id: world.socket.ops(19).at(-1).id });
      await reading;
    }
    const disconnected = assert.rejects(history(world.client, ROOM), { code: 'disconnected' });
    await settled();
    world.socket.end(1006);
    await disconnected;
    await assert.rejects(history(world.client, ROOM, { timeoutMs: 1 }), { code: 'timeout' });
    const odd = assert.rejects(history(world.client, 'two words'), (error) => error instanceof MessageError && error.code === 'bad_channel');
    await world.clock.pass(0);
    await odd;
    const closed = assert.rejects(history(world.client, ROOM), { code: 'closed' });
    world.client.close();
    await closed;
  });

  it('shares the four open requests of a session', async () => {
    const world = await inRoom();
    const reading = Array.from({ length: 6 }, () => history(world.client, ROOM));
    await settled();
    assert.equal(world.socket.ops(19).length, 4);
    for (let n = 0; n < 6; n++) {
      world.socket.receive(page(world.socket.ops(19)[n], [n], false));
      await settled();
    }
    assert.deepEqual((await Promise.all(reading)).map(({ messages }) => messages[0].message.n), [0, 1, 2, 3, 4, 5]);
  });

  it('with odd options or an odd answer does not end the session', async () => {
    const world = await inRoom();
    for (const options of [{ before: 7, limit: 'x' }, { limit: -1 }, { limit: 1e12 }, { before: null, limit: null }]) {
      const reading = history(world.client, ROOM, options);
      await settled();
      const { before, limit = 1, id } = world.socket.ops(19).at(-1);
      assert.ok(before === undefined && Number.isInteger(limit) && limit >= 1 && limit <= 100, JSON.stringify(options));
      world.socket.receive({ op: 20, id, messages: [null, 7, {}, { position: 5 }], more: 'yes' });
      assert.deepEqual(await reading, { messages: [], more: false, before: undefined });
    }
  });
});

describe('a signal', () => {
  const typing = (value) => ({ typing: value });

  it('of another session is an event', async () => {
    const world = await inRoom();
    const received = [];
    world.room.on('signal', (event) => received.push(event));
    world.socket.receive({ op: 18, channel: ROOM, user: 'ada', signal: typing(true) });
    assert.deepEqual(received, [{ type: 'signal', channel: ROOM, user: 'ada', signal: typing(true) }]);
    world.room.unsubscribe();
    world.socket.receive({ op: 18, channel: ROOM, user: 'ada', signal: typing(false) });
    assert.equal(received.length, 1);
  });

  it('is sent at once, and then the newest one in each interval', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const world = await inRoom();
    for (let n = 0; n < 5; n++) signal(world.client, ROOM, n);
    signal(world.client, 'room:8', 'other');
    const sent = () => world.socket.ops(18).map(({ signal }) => signal);
    assert.deepEqual(world.socket.ops(18)[0], { op: 18, channel: ROOM, signal: 0 });
    assert.deepEqual(sent(), [0, 'other']);
    test.mock.timers.tick(249);
    assert.deepEqual(sent(), [0, 'other']);
    test.mock.timers.tick(1);
    assert.deepEqual(sent(), [0, 'other', 4]);
    signal(world.client, ROOM, 5);
    test.mock.timers.tick(249);
    assert.equal(sent().length, 3);
    test.mock.timers.tick(1);
    assert.deepEqual(sent(), [0, 'other', 4, 5]);
  });

  it('is dropped while the client is disconnected', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const world = await inRoom();
    signal(world.client, ROOM, 1);
    signal(world.client, ROOM, 2);
    world.socket.end(1006);
    signal(world.client, ROOM, 3);
    await world.clock.pass(world.states.at(-1).retryInMs);
    await ready(world);
    test.mock.timers.tick(1_000);
    assert.deepEqual(world.sockets.flatMap((socket) => socket.ops(18)).map(({ signal }) => signal), [1]);
  });

  it('is dropped above the budget of the gateway', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    const world = await inRoom();
    for (let n = 0; n < 1_000; n++) signal(world.client, `room:${n}`, n);
    assert.equal(world.socket.ops(18).length, 480);
    world.client.subscribe('room:8');
    await settled();
    assert.equal(world.socket.ops(4).length, 1, 'the budget of messages is another one');
  });

  it('that the gateway would refuse throws', async () => {
    const world = await inRoom();
    const loop = {};
    loop.loop = loop;
    for (const odd of [undefined, loop, 'x'.repeat(1_023), 'é'.repeat(512), () => {}]) assert.throws(() => signal(world.client, ROOM, odd), TypeError);
    for (const name of ['', 'two words', 7]) assert.throws(() => signal(world.client, name, 1), TypeError);
    assert.equal(world.socket.ops(18).length, 0);
  });

  it('that is refused causes an error event', async () => {
    const world = await inRoom();
    signal(world.client, ROOM, 1);
    world.socket.receive({ op: 9, code: 'not_allowed', detail: 'no signals', channel: ROOM });
    assert.deepEqual(world.errors.map(({ where }) => where), ['not_allowed']);
  });
});
