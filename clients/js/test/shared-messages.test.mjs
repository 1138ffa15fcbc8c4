// Messages, signals and stored messages in tabs that share a worker.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { history, send, signal } from '../dist/messages.js';
import { eventually } from './support/deadline.mjs';
import { message } from './support/fake.mjs';
import { startWorker } from './support/worker.mjs';

const ROOM = 'room:7';
const summary = (events) =>
  events
    .filter(({ channel }) => channel === ROOM)
    .map(({ type, message, last, user }) => (type === 'message' ? message.n : [type, last ?? user]));

/** Two connected tabs; the first is subscribed to the room with `last`. */
async function connected(test, last = 50) {
  const worker = startWorker(test);
  const [one, other] = [worker.open(), worker.open()];
  const room = one.tab.subscribe(ROOM, { last });
  one.tab.connect();
  other.tab.connect();
  const { socket, identify } = await worker.accept(1, [{ channel: ROOM, position: '3-0', last: 2 }]);
  for (const { tab } of [one, other]) await eventually('the tab is connected', () => tab.state === 'connected');
  await eventually('the room is subscribed', () => room.state === 'subscribed');
  return { ...worker, one, other, room, socket, identify };
}

describe('tabs that share a socket', () => {
  it('get acknowledgements of their own messages', async (test) => {
    const { one, other, socket } = await connected(test);
    const sending = [send(one.tab, ROOM, 'of one'), send(other.tab, ROOM, 'of the other')];
    await eventually('both are sent', () => socket.ops(16).length === 2);
    const [first, second] = socket.ops(16);
    assert.notEqual(first.id, second.id);
    socket.receive({ op: 9, code: 'not_allowed', detail: '', id: second.id });
    await assert.rejects(sending[['of one', 'of the other'].indexOf(second.message)], { code: 'not_allowed', id: second.id });
    socket.receive({ op: 17, id: first.id });
    assert.equal(await sending[['of one', 'of the other'].indexOf(first.message)], first.id);
  });

  it('repeat a message with its id after a cut', async (test) => {
    const { one, socket, accept } = await connected(test);
    const sending = send(one.tab, ROOM, 'once');
    await eventually('it is sent', () => socket.ops(16).length === 1);
    socket.end(1006);
    const { socket: next } = await accept(2, [{ channel: ROOM, position: '3-0', recovered: true }]);
    await eventually('it is repeated', () => next.ops(16).length === 1);
    assert.deepEqual(next.ops(16), socket.ops(16));
    next.receive({ op: 17, id: next.ops(16)[0].id });
    assert.equal(await sending, next.ops(16)[0].id);
  });

  it('repeat a message with its id over another worker', async (test) => {
    const workers = [startWorker(test), startWorker(test)];
    let started = 0;
    const port = () => workers[started++].open().port;
    const { tab } = workers[0].open({ worker: port, workerTimeoutMs: 200 });
    tab.connect();
    const { socket } = await workers[0].accept(1);
    await eventually('the tab is connected', () => tab.state === 'connected');
    const sending = send(tab, ROOM, 'once');
    await eventually('it is sent', () => socket.ops(16).length === 1);
    tab.close();
    await assert.rejects(sending, { code: 'closed', mayBeStored: true });
    tab.connect();
    const { socket: next } = await workers[1].accept(1);
    await eventually('the tab is connected again', () => tab.state === 'connected');
    const { id } = socket.ops(16)[0];
    const again = send(tab, ROOM, 'once', { id });
    await eventually('it is repeated', () => next.ops(16).length === 1);
    next.receive({ op: 17, id });
    assert.equal(await again, id);
  });

  it('send signals, and all get those of others', async (test) => {
    const { one, other, socket } = await connected(test);
    const room = other.tab.subscribe(ROOM);
    await eventually('the other is subscribed', () => room.state === 'subscribed');
    signal(one.tab, ROOM, { typing: true });
    await eventually('it is sent', () => socket.ops(18).length === 1);
    assert.deepEqual(socket.ops(18), [{ op: 18, channel: ROOM, signal: { typing: true } }]);
    socket.receive({ op: 18, channel: ROOM, user: 'ada', signal: 1 });
    for (const { events } of [one, other]) await eventually('the signal arrives', () => summary(events).at(-1)[1] === 'ada');
  });

  it('begin with the last messages, also later ones', async (test) => {
    const { one, other, socket, identify } = await connected(test);
    assert.deepEqual(identify.channels, [{ channel: ROOM, last: 50 }]);
    for (const n of [4, 5]) socket.receive(message(ROOM, n, `${n}-0`));
    await eventually('the first tab has them', () => summary(one.events).includes(5));
    assert.deepEqual(summary(one.events), [['subscribed', 2], 4, 5]);
    const room = other.tab.subscribe(ROOM, { last: 10 });
    await eventually('the later tab has them', () => summary(other.events).includes(5));
    socket.receive(message(ROOM, 6, '6-0'));
    await eventually('the next one follows', () => summary(other.events).includes(6));
    assert.deepEqual(summary(other.events), [['subscribed', 2], 4, 5, 6]);
    assert.equal(room.position, '6-0');
    assert.equal(socket.ops(4).length, 0);
    const third = other.tab.subscribe(ROOM, { since: '6-0' });
    await eventually('the third is subscribed', () => third.state === 'subscribed');
    assert.equal(summary(other.events).filter((one) => one === 6).length, 1);
  });

  it('begin again with a fresh view in every tab', async (test) => {
    const { one, other, socket, accept } = await connected(test);
    socket.receive(message(ROOM, 4, '4-0'));
    other.tab.subscribe(ROOM, { last: 50 });
    await eventually('the later tab has the message', () => summary(other.events).includes(4));
    socket.end(1006);
    const { socket: next } = await accept(2, [{ channel: ROOM, position: '90-0', recovered: false }]);
    await eventually('the channel is left', () => next.ops(5).length === 1);
    next.receive({ op: 6, channels: [{ channel: ROOM, state: 'unsubscribed' }] });
    await eventually('the last messages are requested', () => next.ops(4).length === 1);
    assert.deepEqual(next.ops(4), [{ op: 4, channel: ROOM, last: 50 }]);
    next.receive({ op: 6, channels: [{ channel: ROOM, state: 'subscribed', position: '90-0', last: 1 }] });
    next.receive(message(ROOM, 91, '91-0'));
    for (const { events } of [one, other]) {
      await eventually('the view is fresh', () => summary(events).includes(91));
      assert.deepEqual(summary(events).slice(-3), [['subscribed', 1], ['gap', 1], 91]);
    }
  });

  it('get their own pages of the history', async (test) => {
    const { one, other, socket } = await connected(test);
    const pages = [history(one.tab, ROOM, { before: '1-0' }), history(other.tab, ROOM, { before: '2-0' })];
    await eventually('both are sent', () => socket.ops(19).length === 2);
    for (const { id, before } of socket.ops(19)) {
      socket.receive({ op: 20, id, channel: ROOM, messages: [{ position: '0-1', message: before }], more: false });
    }
    assert.deepEqual((await Promise.all(pages)).map(({ messages }) => messages[0].message), ['1-0', '2-0']);
  });
});
