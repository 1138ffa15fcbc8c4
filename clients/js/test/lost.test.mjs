// Tabs whose shared worker ends: they detect it and resume from their positions.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { send } from '../dist/messages.js';
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

/** Workers as in a browser: each request gets the running worker or a new one. */
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

  /** Ends the running worker as a crash does: it sends nothing more, and its lock is released. */
  crash() {
    this.#running.ports.forEach((port) => port.close());
    this.release();
  }

  /** Ends the running worker; its lock is released before its last messages arrive. */
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

/** Accepts the latest socket; every channel is at the requested position, or at 5-0. */
async function accept(nth, user = '42') {
  await eventually('a socket is opened', () => sockets.length === nth);
  const socket = sockets[nth - 1];
  socket.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS });
  const [{ channels }] = socket.ops(1);
  const requested = new Map(channels.map(({ channel, since }) => [channel, since]));
  const names = new Set([`user:${user}`, 'all', ...requested.keys()]);
  const states = [...names].map((channel) => {
    const since = requested.get(channel);
    return since ? { channel, position: since, recovered: true } : { channel, position: '5-0' };
  });
  socket.receive({ op: 2, user, channels: states });
  return { socket, requested: Object.fromEntries(requested) };
}

const numbers = (events, channel) =>
  events.filter((event) => event.type === 'message' && event.channel === channel).map((event) => event.message.n);
const has = (events, type) => events.some((event) => event.type === type);

describe('tabs whose worker has ended', () => {
  beforeEach(() => {
    sockets.length = 0;
    globalThis.RealWebSocket = globalThis.WebSocket;
    globalThis.WebSocket = Socket;
  });

  afterEach(() => {
    endings.splice(0).forEach((end) => end());
    globalThis.WebSocket = globalThis.RealWebSocket;
  });

  it('repeat a message that the worker took with it', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab } = open(workers.get);
    const first = await accept(1);
    await eventually('the tab is connected', () => tab.state === 'connected');
    const sending = send(tab, ROOM, 'once');
    await eventually('it is sent', () => first.socket.ops(16).length === 1);
    workers.crash();
    await eventually('the tab detects the end of the worker', () => tab.state === 'waiting');
    const { socket } = await accept(2);
    await eventually('it is repeated', () => socket.ops(16).length === 1);
    assert.deepEqual(socket.ops(16), first.socket.ops(16));
    const [{ id }] = socket.ops(16);
    socket.receive({ op: 17, id });
    assert.equal(await sending, id);
  });

  it('share a new worker and resume every channel', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const [one, other] = [open(workers.get), open(workers.get)];
    const room = one.tab.subscribe(ROOM);
    other.tab.subscribe(ROOM);
    await eventually('both tabs have connected', () => one.tab.state === 'connecting' && other.tab.state === 'connecting');
    const first = await accept(1);
    await eventually('both tabs are subscribed', () => has(one.events, 'subscribed') && has(other.events, 'subscribed'));
    // A later tab gets the positions of the session's own channels.
    const late = open(workers.get);
    await eventually('the tab is connected', () => late.tab.state === 'connected');
    first.socket.receive(message(ROOM, 1, '5-1'));
    first.socket.receive(message('user:42', 1, '5-7'));
    await eventually('all tabs have the message', () =>
      [one, other, late].every(({ events }) => numbers(events, 'user:42').length === 1),
    );
    workers.crash();
    await eventually('all tabs detect the end of the worker', () => [one, other, late].every(({ tab }) => tab.state === 'waiting'));
    const { socket, requested } = await accept(2);
    assert.deepEqual(requested, { [ROOM]: '5-1', 'user:42': '5-7', all: '5-0' });
    await eventually('all tabs are connected again', () => [one, other, late].every(({ tab }) => tab.state === 'connected'));
    socket.receive(message(ROOM, 2, '5-2'));
    socket.receive(message('user:42', 2, '5-8'));
    await eventually('delivery continues', () =>
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

  it('receive the last messages of the worker before they resume', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const tabs = [open(workers.get), open(workers.get)];
    const { socket } = await accept(1);
    await eventually('both tabs are subscribed', () => tabs.every(({ events }) => has(events, 'subscribed')));
    // The message is on its way to both tabs when the worker ends.
    socket.receive(message('user:42', 1, '5-1'));
    workers.release();
    const { requested } = await accept(2);
    assert.equal(requested['user:42'], '5-1');
    await eventually('both tabs are connected again', () => tabs.every(({ events }) => has(events, 'recovered')));
    for (const { events } of tabs) assert.deepEqual([numbers(events, 'user:42'), has(events, 'gap')], [[1], false]);
  });

  it('that also subscribe to an own channel receive each message once', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    const first = await accept(1);
    await eventually('the tab is connected', () => has(events, 'subscribed'));
    workers.crash();
    const { socket } = await accept(2);
    await eventually('the client is connected again', () => has(events, 'recovered'));
    const own = tab.subscribe('user:42');
    await eventually('the channel is subscribed', () => own.state === 'subscribed');
    socket.receive(message('user:42', 1, '5-1'));
    own.unsubscribe();
    socket.receive(message('user:42', 2, '5-2'));
    await eventually('both messages arrive', () => numbers(events, 'user:42').length >= 2);
    assert.deepEqual(numbers(events, 'user:42'), [1, 2]);
    assert.equal(first.socket.ops(4).length + socket.ops(4).length, 0);
  });

  it("whose user changes receive only the new user's messages", async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    await accept(1);
    await eventually('the tab is connected', () => has(events, 'subscribed'));
    workers.crash();
    await eventually('a socket is opened', () => sockets.length === 2);
    const socket = sockets[1];
    socket.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS });
    socket.receive({ op: 2, user: '43', channels: ['user:43', 'all'].map((channel) => ({ channel, position: '6-0' })) });
    socket.receive({ op: 6, channel: 'user:42', state: 'refused', reason: 'not_allowed' });
    socket.receive(message('user:43', 1, '6-1'));
    await eventually('the tab receives its own message', () => numbers(events, 'user:43').length === 1);
    assert.equal(tab.user, '43');
    assert.equal(has(events, 'refused'), false);
  });

  it('open their own sockets after several workers have ended', async (test) => {
    const workers = new Workers(FakeLocks.install(test));
    const { tab, events } = open(workers.get);
    const room = tab.subscribe(ROOM);
    for (const nth of [1, 2]) {
      const { socket } = await accept(nth);
      await eventually('the channel is subscribed', () => room.state === 'subscribed');
      socket.receive(message(ROOM, nth, `5-${nth}`));
      await eventually('the message arrives', () => numbers(events, ROOM).length === nth);
      workers.crash();
    }
    const { requested } = await accept(3);
    assert.equal(requested[ROOM], '5-2');
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    assert.deepEqual([workers.started, tab.state], [2, 'connected']);
    assert.equal(has(events, 'gap'), false);
  });

  it('detect it by timeout without locks', async () => {
    const silent = () => {
      const { port1, port2 } = new MessageChannel();
      endings.push(() => port2.close());
      port2.start();
      return port1;
    };
    const { tab } = open(silent, { workerTimeoutMs: 20 });
    await accept(1);
    await eventually('the tab has its own socket', () => tab.state === 'connected');
  });

  it('open their own socket where there are no workers', async () => {
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
    await eventually('the client is connected', () => tab.state === 'connected');
    assert.deepEqual(errors, ['worker']);
  });
});
