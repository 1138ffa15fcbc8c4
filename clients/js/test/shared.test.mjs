// Tabs and their shared worker in one process, with real message ports and fake sockets.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GatewayError } from '../dist/index.js';
import { MAX_UNTAKEN } from '../dist/shared-messages.js';
import { eventually } from './support/deadline.mjs';
import { message } from './support/fake.mjs';
import { startWorker } from './support/worker.mjs';

const messages = (events) => events.filter(({ type }) => type === 'message').map((event) => event.message.n);

describe('tabs that share a socket', () => {
  it('receive their channels over it until the last tab closes', async (test) => {
    const { sockets, open, accept } = startWorker(test);
    const [one, other] = [open(), open()];
    const room = one.tab.subscribe('room:7');
    one.tab.connect();
    other.tab.connect();
    const { socket } = await accept(1, [{ channel: 'room:7', position: '5-0' }]);
    await eventually('both tabs are connected', () =>
      [one, other].every(({ tab }) => tab.state === 'connected' && tab.user === '42'),
    );
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    socket.receive(message('room:7', 1, '5-1'));
    socket.receive(message('user:42', 2));
    await eventually('the messages arrive', () => messages(one.events).length === 2 && messages(other.events).length === 1);
    assert.deepEqual(messages(one.events), [1, 2]);
    assert.deepEqual(messages(other.events), [2]);
    assert.equal(room.position, '5-1');
    one.tab.close();
    await eventually('the channel is unsubscribed', () => socket.ops(5).length === 1);
    assert.equal(socket.isClosed, false);
    other.tab.close();
    await eventually('the socket is closed', () => socket.isClosed);
    assert.equal(sockets.length, 1);
  });

  it('report an error of the gateway with its code', async (test) => {
    const { open, accept } = startWorker(test);
    const { tab } = open();
    const errors = [];
    tab.on('error', ({ error }) => errors.push(error));
    tab.connect();
    const { socket } = await accept(1);
    await eventually('the tab is connected', () => tab.state === 'connected');
    socket.receive({ op: 9, code: 'refresh_failed', detail: 'another user' });
    await eventually('the error arrives', () => errors.length === 1);
    assert.ok(errors[0] instanceof GatewayError);
    assert.equal(errors[0].code, 'refresh_failed');
  });

  it('report a recovering channel and continue from the later op 6', async (test) => {
    const { open, accept } = startWorker(test);
    const tabs = [open(), open()];
    const [room] = tabs.map(({ tab }) => tab.subscribe('room:7', { since: '5-1' }));
    tabs.forEach(({ tab }) => tab.connect());
    const { socket } = await accept(1, [{ channel: 'room:7', state: 'recovering', position: '5-1' }]);
    await eventually('the channel is recovering', () => room.state === 'recovering');
    const late = open();
    const lateRoom = late.tab.subscribe('room:7');
    late.tab.connect();
    await eventually('the late tab reports it as well', () => lateRoom.state === 'recovering');
    assert.equal(room.position, '5-1');
    socket.receive({ op: 6, channel: 'room:7', state: 'subscribed', position: '5-1', recovered: true });
    socket.receive(message('room:7', 2, '5-2'));
    for (const { events } of [...tabs, late]) {
      await eventually('the message arrives', () => messages(events).length === 1);
      const types = events.filter(({ channel }) => channel === 'room:7').map(({ type }) => type);
      assert.deepEqual(types, ['recovering', 'subscribed', 'recovered', 'message']);
    }
    assert.deepEqual([room.state, room.position], ['subscribed', '5-2']);
  });

  it('do not share it across keys', async (test) => {
    const { sockets, open } = startWorker(test);
    open({ key: 'user 42' }).tab.connect();
    open({ key: 'user 43' }).tab.connect();
    await eventually('each key has a socket', () => sockets.length === 2);
  });

  it('provide the token, the next tab if one fails', async (test) => {
    const { open, accept } = startWorker(test);
    const { tab } = open({
      key: 'user 42',
      token: () => {
        throw new Error('logged out here');
      },
    });
    const errors = [];
    tab.on('error', (event) => errors.push(event));
    tab.connect();
    await eventually('the failure is reported', () => errors.some(({ where }) => where === 'token'));
    open({ key: 'user 42', token: async () => 'from the other tab' }).tab.connect();
    const { identify } = await accept(1);
    assert.equal(identify.token, 'from the other tab');
  });

  it('can get the log, and can check the connection at once', async (test) => {
    const { open, accept } = startWorker(test);
    const logs = [];
    const { tab } = open({ log: (what, detail) => logs.push([what, JSON.stringify(detail)]) });
    const quiet = open();
    tab.connect();
    quiet.tab.connect();
    const { socket } = await accept(1);
    await eventually('the client is connected', () => tab.state === 'connected' && quiet.tab.state === 'connected');
    for (const { time } of socket.ops(10)) socket.receive({ op: 11, time });
    const before = socket.ops(10).length;
    quiet.tab.wake();
    await eventually('a heartbeat is sent', () => socket.ops(10).length > before);
    socket.receive(message('user:42', 'a secret', '5-1'));
    await eventually('the log is complete', () => logs.some(([what]) => what === 'wake'));
    assert.ok(logs.some(([what]) => what === 'connected'));
    assert.doesNotMatch(JSON.stringify(logs), /a secret/);
  });

  it('that stop reading are disconnected and get a gap afterwards', async (test) => {
    const { open, accept } = startWorker(test);
    const { tab, events, port } = open();
    const room = tab.subscribe('room:7');
    tab.connect();
    const { socket } = await accept(1, [{ channel: 'room:7', position: '5-0' }]);
    // Another tab keeps the socket open.
    const other = open();
    other.tab.connect();
    other.tab.subscribe('room:7');
    await eventually('both tabs are subscribed', () => room.state === 'subscribed' && other.events.length > 0);
    const { onmessage } = port;
    port.onmessage = null;
    const many = MAX_UNTAKEN + 500;
    for (let n = 1; n <= many; n++) {
      socket.receive(message('room:7', n, `5-${n}`));
      if (n % 1_000 === 0) await eventually('the other tab keeps up', () => messages(other.events).length === n);
    }
    port.onmessage = onmessage;
    await eventually('the gap is reported', () => events.some(({ type }) => type === 'gap'));
    const received = messages(events);
    assert.ok(received.length <= MAX_UNTAKEN, `${received.length} messages were kept`);
    assert.deepEqual(
      received,
      received.map((_, index) => index + 1),
      'up to the gap nothing is missing',
    );
    await eventually('the other tab has all messages', () => messages(other.events).length === many);
    socket.receive(message('room:7', many + 1, `5-${many + 1}`));
    await eventually('delivery continues', () => room.position === `5-${many + 1}`);
  });
});
