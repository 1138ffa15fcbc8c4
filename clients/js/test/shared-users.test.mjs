// Which users and releases share a socket, and calls inside the listeners of a tab.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, describe, it } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import { SharedClient } from '../dist/shared.js';
import { SharedHub } from '../dist/shared-hub.js';
import { VERSION } from '../dist/shared-messages.js';
import { deadline, eventually } from './support/deadline.mjs';
import { FakeSocket, LIMITS, message } from './support/fake.mjs';

const ROOM = 'room:7';
const endings = [];

/** A worker and a gateway in this process. The gateway uses the token's `sub` as the user without verification. */
function startWorker() {
  const sockets = [];
  class Socket extends FakeSocket {
    constructor(url) {
      super(url);
      sockets.push(this);
      queueMicrotask(() => this.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS }));
    }

    send(text) {
      super.send(text);
      const { op, token, channels, time } = JSON.parse(text);
      if (op === 1) this.#identify(token, channels);
      const answer = (states) => this.#later({ op: 6, channels: states });
      if (op === 4) answer(channels.map(({ channel, since }) => ({ channel, state: 'subscribed', ...stateAt(since) })));
      if (op === 5) answer(channels.map((channel) => ({ channel, state: 'unsubscribed' })));
      if (op === 10) this.#later({ op: 11, time });
    }

    #identify(token, requested) {
      this.user = userOf(token);
      this.requested = requested;
      const own = [`user:${this.user}`, 'all'];
      const names = new Map(own.map((name) => [name, undefined]));
      for (const { channel, since } of requested) names.set(channel, since);
      const channels = [...names].map(([channel, since]) => ({ channel, ...stateAt(since) }));
      this.#later({ op: 2, user: this.user, channels });
    }

    #later(frame) {
      queueMicrotask(() => this.receive(frame));
    }
  }
  const stateAt = (since) => (since ? { position: since, recovered: true } : { position: '5-0' });
  const hub = new SharedHub({ WebSocket: Socket });
  const open = (options = {}, serve = (port) => hub.serve(port)) => {
    const { port1, port2 } = new MessageChannel();
    serve(port2);
    const tab = new SharedClient({ url: 'ws://gateway.test/', token: '42', worker: port1, ...options });
    const events = [];
    const states = [];
    const errors = [];
    tab.on('event', (event) => events.push(event));
    tab.on('state', (event) => states.push(event.state));
    tab.on('error', (event) => errors.push(event));
    endings.push(() => {
      tab.close();
      port1.close();
    });
    return { tab, events, states, errors };
  };
  return { sockets, open, Socket };
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (sub) => `${part({ alg: 'HS256' })}.${part({ sub, jti: Math.random() })}.${'s'.repeat(43)}`;
const userOf = (token) => (token.includes('.') ? JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub : token);
const numbers = (events) => events.filter(({ type }) => type === 'message').map((event) => event.message.n);
const connected = ({ tab }) => eventually('the client is connected', () => tab.state === 'connected');

afterEach(() => endings.splice(0).forEach((end) => end()));

describe('without a key', () => {
  it('tabs share a socket only with tabs of the same user', async () => {
    const { sockets, open } = startWorker();
    const tabs = ['42', '42', '43'].map((user) => open({ token: async () => jwt(user) }));
    tabs.forEach(({ tab }) => tab.connect());
    for (const tab of tabs) await connected(tab);
    assert.deepEqual(
      tabs.map(({ tab }) => tab.user),
      ['42', '42', '43'],
    );
    assert.deepEqual(sockets.map(({ user }) => user).sort(), ['42', '43']);
    sockets.find(({ user }) => user === '42').receive(message('user:42', 'private', '5-1'));
    sockets.find(({ user }) => user === '43').receive(message('user:43', 'other', '5-1'));
    await eventually('each tab receives its own message', () => tabs.every(({ events }) => numbers(events).length === 1));
    assert.deepEqual(
      tabs.map(({ events }) => numbers(events)),
      [['private'], ['private'], ['other']],
    );
  });

  it('a login as another user affects only its own tab', async () => {
    const { sockets, open } = startWorker();
    let user = '42';
    const staying = open({ token: () => jwt('42') });
    staying.tab.connect();
    await connected(staying);
    // The worker requests the token from the newest tab.
    const leaving = open({ token: () => jwt(user) });
    const room = leaving.tab.subscribe(ROOM);
    leaving.tab.connect();
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    sockets[0].receive(message(ROOM, 1, '6-1'));
    await eventually('the channel has a position', () => room.position === '6-1');
    user = '43';
    sockets[0].end(1006);
    await eventually('both tabs are connected again', () => staying.tab.state === 'connected' && leaving.tab.user === '43');
    await eventually('the gap is reported', () => leaving.events.some(({ type }) => type === 'gap'));
    assert.equal(staying.tab.user, '42');
    const theirs = sockets.filter((socket) => socket.user === '43');
    assert.equal(theirs.length, 1);
    assert.ok(theirs[0].requested.every(({ since }) => since === undefined), 'no position of the earlier user');
    assert.ok(theirs[0].ops(4).every(({ since }) => since === undefined));
  });

  it('tabs whose user is unknown share no socket', async () => {
    const { open } = startWorker();
    let isDown = true;
    const getToken = () => {
      if (isDown) throw new Error('down');
      return '42';
    };
    const tab = open({ token: getToken, backoff: { baseMs: 1 } });
    tab.tab.connect();
    await eventually('the error is reported', () => tab.errors.some(({ where }) => where === 'token'));
    isDown = false;
    await connected(tab);
    assert.equal(tab.tab.user, '42');
  });
});

describe('a key', () => {
  it('may be a function, which is called for each connection', async () => {
    const { sockets, open } = startWorker();
    let user = '42';
    const { tab } = open({ key: () => `user ${user}`, token: () => user });
    const other = open({ key: 'user 42' });
    tab.connect();
    other.tab.connect();
    await connected(other);
    await connected({ tab });
    assert.equal(sockets.length, 1);
    tab.close();
    user = '43';
    tab.connect();
    await eventually('the tab has the other user', () => tab.user === '43' && tab.state === 'connected');
    assert.deepEqual([sockets.length, other.tab.user], [2, '42']);
  });
});

it('ready() of a tab resolves after another tab connected again', async () => {
  const { sockets, open } = startWorker();
  const [one, other] = [open({ key: 'user 42' }), open({ key: 'user 42' })];
  await Promise.all([one.tab.connect(), other.tab.connect()]);
  sockets[0].end(4010);
  await eventually('both tabs are closed', () => one.tab.state === 'closed' && other.tab.state === 'closed');
  await assert.rejects(one.tab.ready(), { code: 'closed' });
  await other.tab.connect();
  await connected(one);
  await one.tab.ready();
});

describe('a tab and a worker of different releases', () => {
  it('share nothing: the tab opens its own socket and reports why', async (test) => {
    const { Socket, sockets, open } = startWorker();
    const before = globalThis.WebSocket;
    globalThis.WebSocket = Socket;
    test.after(() => (globalThis.WebSocket = before));
    const received = [];
    for (const version of [undefined, '0.0.1']) {
      const { tab, errors } = open({}, (port) => {
        port.onmessage = ({ data }) => {
          received.push(data.type);
          if (data.type === 'hello') port.postMessage({ type: 'welcome', version, state: { state: 'connected' }, own: {} });
        };
      });
      tab.connect();
      await eventually('the tab has its own socket', () => tab.state === 'connected' && tab.user === '42');
      assert.equal(errors[0].where, 'worker');
      assert.match(errors[0].error.message, /version/);
    }
    assert.equal(sockets.length, 2);
    assert.ok(received.includes('bye'));
  });

  it('share nothing: the worker answers only with its version', async () => {
    const { port1, port2 } = new MessageChannel();
    endings.push(() => port1.close());
    new SharedHub().serve(port2);
    const received = [];
    const answered = new Promise((resolve) => {
      port1.onmessage = ({ data }) => (received.push(data), resolve());
    });
    for (const type of ['hello', 'ping', 'connect']) port1.postMessage({ type, version: '0.0.1', key: 'k', settings: {} });
    await deadline(answered, 'the worker answers');
    port1.postMessage({ type: 'hello', version: '0.0.1' });
    await eventually('the worker answers again', () => received.length === 2);
    assert.deepEqual(received, Array(2).fill({ type: 'version', version: VERSION }));
  });

  it('are distinguished by the version of the package', () => {
    assert.equal(JSON.parse(readFileSync(new URL('../package.json', import.meta.url))).version, VERSION);
  });
});

describe('inside the listeners of a tab', () => {
  for (const moment of ['connecting', 'connected', 'waiting', 'subscribed', 'message', 'latency']) {
    it(`close() is final: ${moment}`, async () => {
      const { sockets, open } = startWorker();
      const { tab, states } = open({ backoff: { baseMs: 1 } });
      const close = () => {
        tab.close();
        assert.equal(tab.state, 'closed');
      };
      tab.on('state', ({ state }) => state === moment && close());
      if (['subscribed', 'message', 'latency'].includes(moment)) tab.on(moment, close);
      tab.subscribe(ROOM);
      tab.connect();
      if (!['connecting', 'connected', 'subscribed', 'latency'].includes(moment)) {
        await connected({ tab });
        sockets[0].receive(message('user:42', 1, '6-1'));
        if (moment === 'waiting') sockets[0].end(1006);
      }
      await eventually('the tab is closed', () => tab.state === 'closed');
      const isOver = ({ isClosed, user }) => isClosed || moment === 'waiting' || !user;
      await eventually('the socket is closed', () => sockets.every(isOver));
      assert.equal(states.at(-1), 'closed');
      assert.equal(states.filter((state) => state === 'closed').length, 1);
    });
  }

  it('disconnect() leaves the worker, and connect() resumes', async () => {
    const { sockets, open } = startWorker();
    const { tab, events, states } = open({ key: 'user 42' });
    const room = tab.subscribe(ROOM);
    await tab.connect();
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    sockets[0].receive(message(ROOM, 1, '6-1'));
    await eventually('the message arrives', () => room.position === '6-1');
    tab.disconnect();
    await assert.rejects(tab.ready(), { code: 'disconnected' });
    assert.deepEqual([tab.state, room.state, states.at(-1)], ['idle', 'pending', 'idle']);
    await eventually('the socket is closed', () => sockets[0].isClosed);
    await tab.connect();
    await eventually('the channel resumes', () => events.at(-1).type === 'recovered' && room.state === 'subscribed');
    const requested = [...sockets[1].requested, ...sockets[1].ops(4)].find(({ channel }) => channel === ROOM);
    assert.equal(requested.since, '6-1');
    tab.close();
    await assert.rejects(tab.ready(), { code: 'closed' });
  });

  it('repeated close() and connect() are rate-limited', async () => {
    const { open } = startWorker();
    let calls = 0;
    const { tab } = open({ token: () => (calls++, '42') });
    const off = tab.on('state', ({ state }) => {
      if (state === 'connecting') tab.close();
      if (state === 'closed') tab.connect();
    });
    tab.connect();
    assert.ok(calls <= 10, `${calls} calls in one turn`);
    off();
  });

  it('subscribing at an earlier position repeats the message', async () => {
    const { sockets, open } = startWorker();
    const { tab } = open();
    const room = tab.subscribe(ROOM);
    tab.connect();
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    const received = [];
    room.on('message', () => {
      room.unsubscribe();
      const again = tab.subscribe(ROOM, { since: '5-0' });
      again.on('event', (event) => received.push(event.message?.n ?? event.type));
    });
    // Both messages are on their way to the tab when it subscribes again.
    for (const n of [1, 2]) sockets[0].receive(message(ROOM, n, `5-${n}`));
    await eventually('the channel is subscribed again', () => sockets[0].ops(4).some(({ since }) => since === '5-0'));
    await eventually('the channel is recovered', () => received.includes('recovered'));
    for (const n of [1, 2]) sockets[0].receive(message(ROOM, n, `5-${n}`));
    await eventually('the messages arrive', () => received.includes(2));
    assert.deepEqual(received, ['subscribed', 'recovered', 1, 2]);
  });

  it('subscribing again at once loses no message on its way', async () => {
    const { sockets, open } = startWorker();
    const { tab, events } = open();
    let room = tab.subscribe(ROOM);
    tab.connect();
    await eventually('the channel is subscribed', () => room.state === 'subscribed');
    tab.on('message', () => {
      room.unsubscribe();
      room = tab.subscribe(ROOM);
    });
    for (let n = 1; n <= 5; n++) sockets[0].receive(message(ROOM, n, `5-${n}`));
    await eventually('all messages arrive', () => numbers(events).length === 5);
    assert.deepEqual(numbers(events), [1, 2, 3, 4, 5]);
    assert.equal(room.position, '5-5');
  });

  it('an invalid channel is refused alone', async () => {
    const { sockets, open } = startWorker();
    const { tab } = open();
    const bad = tab.subscribe('two words');
    const received = [];
    bad.on('refused', ({ reason }) => received.push(reason));
    tab.connect();
    await connected({ tab });
    await eventually('the refusal is reported', () => received.length === 1);
    assert.deepEqual([received, sockets[0].requested], [['bad_channel'], []]);
  });
});

it('refresh() of a tab sends the gateway a new token', async () => {
  const { sockets, open } = startWorker();
  const reasons = [];
  const { tab } = open({ key: 'user 42', token: (reason) => (reasons.push(reason), '42') });
  tab.connect();
  await connected({ tab });
  tab.refresh();
  await eventually('the refresh is sent', () => sockets[0].ops(12).length === 1);
  assert.deepEqual(reasons, ['connect', 'refresh']);
});
