// A list that the app loads, kept current by a channel.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LiveList } from '../dist/live-list.js';
import { cut, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';

/** A connected client and a list of its room, with loads that the test answers. Frames end with `frame`. */
async function begin(test, options = {}) {
  test.mock.timers.enable({ apis: ['setTimeout'] });
  const world = start();
  const loads = [];
  const list = new LiveList(world.client, ROOM, {
    load: (signal) => new Promise((resolve, reject) => loads.push({ signal, resolve, reject })),
    key: ({ id }) => id,
    ...options,
  });
  let views = 0;
  const stop = list.listen(() => views++);
  world.client.connect();
  const frame = async () => {
    await settled();
    test.mock.timers.tick(0);
    return list.view;
  };
  const say = (id, text, position) => world.socket.receive({ op: 3, channel: ROOM, position, message: { id, text } });
  const answer = async (number, ...items) => {
    loads[number].resolve(items.map(([id, text]) => ({ id, text })));
    return texts(await frame());
  };
  const enter = () => ready(world, [{ channel: ROOM, position: '5-0' }]);
  return { test, world, list, loads, stop, frame, say, answer, enter, views: () => views };
}

const texts = ({ items }) => items.map(({ text }) => text).join(' ');

it('loads after the subscription, and adds what arrived meanwhile', async (test) => {
  const room = await begin(test);
  assert.equal(room.loads.length, 0);
  await room.enter();
  assert.equal(room.loads.length, 1);
  assert.equal((await room.frame()).isLoading, true);
  room.say(2, 'b2', '5-1');
  room.say(3, 'c', '5-2');
  assert.equal(await room.answer(0, [1, 'a'], [2, 'b']), 'a b2 c');
  assert.equal(room.list.view.isLoading, false);
  room.say(4, 'd', '5-3');
  assert.equal(texts(await room.frame()), 'a b2 c d');
});

it('changes once for all messages of a frame', async (test) => {
  const room = await begin(test);
  await room.enter();
  await room.answer(0);
  const before = room.views();
  for (let id = 0; id < 100; id++) room.say(id, `t${id}`, `5-${id + 1}`);
  await room.frame();
  assert.equal(room.views(), before + 1);
  assert.equal(room.list.view.items.length, 100);
});

it('loads again after a gap, and shows the earlier items until then', async (test) => {
  const room = await begin(test);
  await room.enter();
  assert.equal(await room.answer(0, [1, 'a']), 'a');
  await cut(room.world);
  room.world.socket.receive({
    op: 2,
    user: '42',
    session: '00',
    channels: [{ channel: ROOM, position: '9-0', recovered: false }],
  });
  const view = await room.frame();
  assert.equal(texts(view), 'a');
  assert.equal(view.isLoading, true);
  assert.equal(room.loads.length, 2);
  assert.equal(await room.answer(1, [8, 'h']), 'h');
});

it('does not load again after a cut that lost nothing', async (test) => {
  const room = await begin(test);
  await room.enter();
  await room.answer(0, [1, 'a']);
  await cut(room.world);
  const channels = [{ channel: ROOM, position: '5-0', recovered: true }];
  room.world.socket.receive({ op: 2, user: '42', session: '00', channels });
  room.say(2, 'b', '5-1');
  assert.equal(texts(await room.frame()), 'a b');
  assert.equal(room.loads.length, 1);
});

it('merges messages into items, and removes an item', async (test) => {
  const merge = (item, { id, text }) => (text === 'gone' ? undefined : { id, text: `${item?.text ?? ''}${text}` });
  const room = await begin(test, { merge });
  await room.enter();
  await room.answer(0, [1, 'a'], [2, 'b']);
  room.say(1, '!', '5-1');
  room.say(2, 'gone', '5-2');
  room.say(3, 'c', '5-3');
  assert.equal(texts(await room.frame()), 'a! c');
});

it('repeats a load that failed, and keeps what arrived', async (test) => {
  const room = await begin(test);
  await room.enter();
  room.say(2, 'b', '5-1');
  room.loads[0].reject(new Error('offline'));
  const view = await room.frame();
  assert.equal(view.error.message, 'offline');
  assert.equal(texts(view), 'b');
  test.mock.timers.tick(1_000);
  assert.equal(room.loads.length, 2);
  assert.equal(await room.answer(1, [1, 'a'], [2, 'b']), 'a b');
  assert.equal(room.list.view.error, undefined);
});

it('reports an exception of load', async (test) => {
  const room = await begin(test, {
    load() {
      throw new Error('no address');
    },
  });
  await room.enter();
  assert.equal((await room.frame()).error.message, 'no address');
});

it('loads again after an exception of key or merge', async (test) => {
  const merge = (item, message) => {
    if (message.text === 'bad') throw new Error('no text');
    return message;
  };
  const room = await begin(test, { merge });
  await room.enter();
  room.loads[0].resolve([null]);
  assert.match((await room.frame()).error.message, /null/);
  test.mock.timers.tick(1_000);
  room.say(2, 'bad', '5-1');
  await room.answer(1, [1, 'a']);
  assert.equal(room.list.view.error.message, 'no text');
  test.mock.timers.tick(1_000);
  assert.equal(await room.answer(2, [1, 'a'], [2, 'b']), 'a b');
  assert.equal(room.list.view.error, undefined);
});

it('changes although the page is hidden before its next frame', async (test) => {
  const room = await begin(test);
  await room.enter();
  await room.answer(0, [1, 'a']);
  // The frame that this page requests never comes.
  const page = { document: { hidden: false }, requestAnimationFrame: () => 1, cancelAnimationFrame() {} };
  Object.assign(globalThis, page);
  test.after(() => Object.keys(page).forEach((name) => delete globalThis[name]));
  room.say(2, 'b', '5-1');
  assert.equal(texts(await room.frame()), 'a');
  test.mock.timers.tick(250);
  assert.equal(texts(room.list.view), 'a b');
});

it('keeps a bounded number of items and of waiting messages', async (test) => {
  const room = await begin(test, { limit: 3 });
  await room.enter();
  for (let id = 1; id <= 5; id++) room.say(id, `t${id}`, `5-${id}`);
  assert.equal(await room.answer(0, [1, 't1']), 't1 t5');
  assert.equal(room.loads.length, 2, 'what was dropped is loaded');
  const all = [1, 2, 3, 4, 5].map((id) => [id, `t${id}`]);
  assert.equal(await room.answer(1, ...all), 't3 t4 t5');
});

it('ends with its last listener', async (test) => {
  const room = await begin(test);
  const stop = room.list.listen(() => {});
  await room.enter();
  room.stop();
  assert.equal(room.loads[0].signal.aborted, false);
  stop();
  assert.equal(room.loads[0].signal.aborted, true);
  await room.frame();
  assert.equal(room.world.socket.ops(5).length, 1);
});

it('begins again for the next user after close and connect', async (test) => {
  const room = await begin(test);
  await room.enter();
  await room.answer(0, [1, 'a']);
  room.world.client.close();
  await room.frame();
  room.world.client.connect();
  assert.equal(texts(await room.frame()), '');
  await room.enter();
  assert.equal(await room.answer(1, [2, 'b']), 'b');
});
