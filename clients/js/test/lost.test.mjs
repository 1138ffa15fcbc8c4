// Tabs whose worker has gone: they notice, and go on where they were.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { SharedClient } from '../dist/shared.js';
import { SharedHub } from '../dist/shared-hub.js';
import { eventually } from './support/deadline.mjs';
import { FakeSocket, LIMITS, message } from './support/fake.mjs';
import { FakeLocks } from './support/locks.mjs';

const ROOM = 'room:7';
const sockets = [];
const endings = [];

class Socket extends FakeSocket {
  constructor(url) {
    super(url);
    sockets.push(this);
  }
}

/** Workers as a browser has them: whoever asks gets the one that runs, or a new one. */
class Workers {
  #locks;
  #running;
  started = 0;

  constructor(locks) {
    this.#locks = locks;
  }

  get = () => {
    this.#running ??= this.#start();
    const { port1, port2 } = new MessageChannel();
    this.#running.ports.push(port2);
    this.#running.hub.serve(port2);
    endings.push(() => port1.close());
    return port1;
  };

  #start() {
    const name = `worker ${++this.started}`;
    const release = this.#locks.hold(name);
    return { hub: new SharedHub({ WebSocket: Socket }, Promise.resolve(name)), ports: [], release };
  }

  /** Ends the one that runs, as a crash does: it says nothing more, and its lock is free. */
  crash() {
    this.#running.ports.forEach((port) => port.close());
    this.release();
  }

  /** Its lock is free before its last words have arrived. */
  release() {
    const { release } = this.#running;
    this.#running = undefined;
    release();
  }
}

function open(worker, options = {}) {
  const tab = new SharedClient({ url: 'ws://gateway.test/', token: '42', worker, ...options });
  const [events, states] = [[], []];
  tab.on('event', (event) => events.push(event));
  tab.on('state', (event) => states.push(event));
  tab.connect();
  endings.push(() => tab.close());
  return { tab, events, states };
}

/** The gateway greets and accepts the latest socket; every channel is where the client says, or at 5-0. */
async function accept(nth, user = '42') {
  await eventually('there is a socket', () => sockets.length === nth);
  const socket = sockets[nth - 1];
  socket.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS });
  const [{ channels }] = socket.ops(1);
  const asked = new Map(channels.map(({ channel, since }) => [channel, since]));
  const names = new Set([`user:${user}`, 'all', ...asked.keys()]);
  const standings = [...names].map((channel) => {
    const since = asked.get(channel);
    return since ? { channel, position: since, recovered: true } : { channel, position: '5-0' };
  });
  socket.receive({ op: 2, user, channels: standings });
  return { socket, asked: Object.fromEntries(asked) };
}

const numbers = (events, channel) =>
  events.filter((event) => event.type === 'message' && event.channel === channel).map((event) => event.message.n);
const has = (events, type) => events.some((event) => event.type === type);

describe('tabs whose worker has gone', () => {
  beforeEach(() => {
    sockets.length = 0;
    globalThis.RealWebSocket = globalThis.WebSocket;
    globalThis.WebSocket = Socket;
  });

  afterEach(() => {
    endings.splice(0).forEach((end) => end());
    globalThis.WebSocket = globalThis.RealWebSocket;
  });

  it('go on with another that they share, every channel from where it was', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const [one, other] = [open(workers.get), open(workers.get)];
    const room = one.tab.subscribe(ROOM);
    other.tab.subscribe(ROOM);
    await eventually('both have said what they want', () => one.tab.state === 'connecting' && other.tab.state === 'connecting');
    const first = await accept(1);
    await eventually('both are subscribed', () => has(one.events, 'subscribed') && has(other.events, 'subscribed'));
    // Whoever comes later is told where the session's own channels are.
    const late = open(workers.get);
    await eventually('it is there', () => late.tab.state === 'connected');
    first.socket.receive(message(ROOM, 1, '5-1'));
    first.socket.receive(message('user:42', 1, '5-7'));
    await eventually('all have heard', () =>
      [one, other, late].every(({ events }) => numbers(events, 'user:42').length === 1),
    );
    workers.crash();
    await eventually('they know', () => [one, other, late].every(({ tab }) => tab.state === 'waiting'));
    const { socket, asked } = await accept(2);
    assert.deepEqual(asked, { [ROOM]: '5-1', 'user:42': '5-7', all: '5-0' });
    await eventually('all are back', () => [one, other, late].every(({ tab }) => tab.state === 'connected'));
    socket.receive(message(ROOM, 2, '5-2'));
    socket.receive(message('user:42', 2, '5-8'));
    await eventually('it goes on', () =>
      [one, other, late].every(({ events }) => numbers(events, 'user:42').length === 2),
    );
    for (const { events } of [one, other]) assert.deepEqual(numbers(events, ROOM), [1, 2]);
    for (const { events } of [one, other, late]) {
      assert.deepEqual(numbers(events, 'user:42'), [1, 2]);
      assert.equal(has(events, 'gap'), false);
    }
    assert.equal(room.position, '5-2');
    const { reason, attempts } = one.states.find(({ state }) => state === 'waiting');
    assert.deepEqual([reason, attempts], ['the shared worker has gone', 1]);
    assert.deepEqual([workers.started, sockets.length], [2, 2]);
  });

  it('hear what the worker said last before they go on', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const tabs = [open(workers.get), open(workers.get)];
    const { socket } = await accept(1);
    await eventually('both are there', () => tabs.every(({ events }) => has(events, 'subscribed')));
    // It is on its way to both when the worker goes.
    socket.receive(message('user:42', 1, '5-1'));
    workers.release();
    const { asked } = await accept(2);
    assert.equal(asked['user:42'], '5-1');
    await eventually('both are back', () => tabs.every(({ events }) => has(events, 'recovered')));
    for (const { events } of tabs) assert.deepEqual([numbers(events, 'user:42'), has(events, 'gap')], [[1], false]);
  });

  it('that hear an own channel by name, too, hear it once', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    const first = await accept(1);
    await eventually('it is there', () => has(events, 'subscribed'));
    workers.crash();
    const { socket } = await accept(2);
    await eventually('it is back', () => has(events, 'recovered'));
    const own = tab.subscribe('user:42');
    await eventually('it is subscribed', () => own.state === 'subscribed');
    socket.receive(message('user:42', 1, '5-1'));
    own.unsubscribe();
    socket.receive(message('user:42', 2, '5-2'));
    await eventually('both are heard', () => numbers(events, 'user:42').length >= 2);
    assert.deepEqual(numbers(events, 'user:42'), [1, 2]);
    assert.equal(first.socket.ops(4).length + socket.ops(4).length, 0);
  });

  it('whose user is another one afterwards hear of nobody else', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    await accept(1);
    await eventually('it is there', () => has(events, 'subscribed'));
    workers.crash();
    await eventually('there is a socket', () => sockets.length === 2);
    const socket = sockets[1];
    socket.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS });
    socket.receive({ op: 2, user: '43', channels: ['user:43', 'all'].map((channel) => ({ channel, position: '6-0' })) });
    socket.receive({ op: 6, channel: 'user:42', state: 'refused', reason: 'not_allowed' });
    socket.receive(message('user:43', 1, '6-1'));
    await eventually('it hears its own', () => numbers(events, 'user:43').length === 1);
    assert.equal(tab.user, '43');
    assert.equal(has(events, 'refused'), false);
  });

  it('again and again have sockets of their own in the end', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    const room = tab.subscribe(ROOM);
    for (const nth of [1, 2]) {
      const { socket } = await accept(nth);
      await eventually('it is subscribed', () => room.state === 'subscribed');
      socket.receive(message(ROOM, nth, `5-${nth}`));
      await eventually('it is heard', () => numbers(events, ROOM).length === nth);
      workers.crash();
    }
    const { asked } = await accept(3);
    assert.equal(asked[ROOM], '5-2');
    await eventually('it is subscribed', () => room.state === 'subscribed');
    assert.deepEqual([workers.started, tab.state], [2, 'connected']);
    assert.equal(has(events, 'gap'), false);
  });

  it('without locks notice it by its silence', async () => {
    const silent = () => {
      const { port1, port2 } = new MessageChannel();
      endings.push(() => port2.close());
      port2.start();
      return port1;
    };
    const { tab } = open(silent, { workerTimeoutMs: 20 });
    await accept(1);
    await eventually('it has a socket of its own', () => tab.state === 'connected');
  });

  it('do without one where there is none', async () => {
    const errors = [];
    const tab = new SharedClient({
      url: 'ws://gateway.test/',
      token: '42',
      worker: () => new globalThis.SharedWorker('/shared-worker.js'),
    });
    tab.on('error', (event) => errors.push(event.where));
    endings.push(() => tab.close());
    tab.connect();
    await accept(1);
    await eventually('it is connected', () => tab.state === 'connected');
    assert.deepEqual(errors, ['worker']);
  });
});
