// A clock, a coin and a socket in the hands of a test.

// Another build of the client, where the tests are run for that.
const { GatewayClient } = await import(process.env.CLIENT ?? '../../dist/index.js');

/** Time that passes only when told, with the timers of a client. */
export class FakeClock {
  time = 1_000_000;
  #timers = new Set();

  setTimeout = (callback, delayMs) => {
    const timer = { at: this.time + delayMs, callback };
    this.#timers.add(timer);
    return timer;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** How long until the next timer, in milliseconds. */
  get nextInMs() {
    return Math.min(...[...this.#timers].map(({ at }) => at)) - this.time;
  }

  get timers() {
    return this.#timers.size;
  }

  /** Lets time pass, timer by timer. */
  async pass(ms) {
    const end = this.time + ms;
    for (;;) {
      const next = [...this.#timers].sort((one, other) => one.at - other.at)[0];
      if (!next || next.at > end) break;
      this.time = Math.max(this.time, next.at);
      this.#timers.delete(next);
      next.callback();
      await settled();
    }
    this.time = end;
    await settled();
  }

  /** The machine sleeps: time passes, timers do not. Those that are overdue run once it is awake. */
  async sleep(ms) {
    this.time += ms;
    await this.pass(0);
  }
}

/** Whatever promises were waiting for has happened. */
export async function settled() {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

/** A socket whose other end is the test. */
export class FakeSocket {
  sent = [];
  isClosed = false;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    if (this.failsToSend) throw new Error('not open');
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.isClosed = true;
    this.closedWith = code;
  }

  receive(frame) {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
  }

  end(code, reason = '') {
    this.onclose?.({ code, reason });
  }

  /** What was sent with this op. */
  ops(op) {
    return this.sent.filter((frame) => frame.op === op);
  }
}

export const LIMITS = { identify_timeout: 10_000, message_bytes: 65_536, messages_per_minute: 120, subscriptions: 100 };

/** A client in such surroundings, and all that happened to it. */
export function start(options = {}) {
  const clock = new FakeClock();
  const sockets = [];
  let coin = 0.5;
  let wake = () => {};
  const world = {
    clock,
    sockets,
    events: [],
    states: [],
    errors: [],
    logs: [],
    setCoin: (value) => (coin = value),
    wake: (why) => wake(why),
    get socket() {
      return sockets.at(-1);
    },
  };
  const WebSocket = function (url) {
    const socket = new FakeSocket(url);
    sockets.push(socket);
    return socket;
  };
  const { setTimeout, clearTimeout } = clock;
  const client = new GatewayClient({
    url: 'ws://gateway.test/',
    token: 'secret-token',
    environment: { now: () => clock.time, random: () => coin, setTimeout, clearTimeout, WebSocket },
    presence: (callback) => {
      wake = callback;
      return () => (wake = () => {});
    },
    log: (what, detail) => world.logs.push([what, detail]),
    ...options,
  });
  client.on('event', (event) => world.events.push(event));
  client.on('state', (event) => world.states.push(event));
  client.on('error', (event) => world.errors.push(event));
  world.client = client;
  return world;
}

/** Hello on the latest socket; returns the Identify that came for it. */
export async function hello(world, limits = LIMITS) {
  await settled();
  world.socket.receive({ op: 0, heartbeat_interval: 45_000, v: 2, session: '00', limits });
  await settled();
  return world.socket.ops(1)[0];
}

/** Hello and Ready with these channels besides the session's own. */
export async function ready(world, channels = [], more = {}) {
  const identify = await hello(world, more.limits);
  const own = ['user:42', 'all'].map((channel) => ({ channel, position: '1-0' }));
  const named = channels.map((channel) => channel.channel);
  const all = [...own.filter(({ channel }) => !named.includes(channel)), ...channels];
  world.socket.receive({ op: 2, user: '42', session: '00', expires_in: more.expires_in, channels: all });
  await settled();
  return identify;
}

/** The socket is cut and the next one gets as far as Identify, which is returned. */
export async function cut(world) {
  world.socket.end(1006);
  await world.clock.pass(world.states.at(-1).retryInMs);
  return hello(world);
}

export const message = (channel, n, position) => ({
  op: 3,
  channel,
  ...(position ? { position } : {}),
  message: { n },
});
