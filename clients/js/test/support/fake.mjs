// A fake clock, random source and socket that a test controls.

// CLIENT selects another build of the client, such as the bundle.
const { GatewayClient } = await import(process.env.CLIENT ?? '../../dist/index.js');

/** A clock with timers whose time passes only in `pass` and `sleep`. */
export class FakeClock {
  time = 1_000_000;
  #timers = new Set();

  setTimeout = (callback, delayMs) => {
    const timer = { at: this.time + delayMs, callback };
    this.#timers.add(timer);
    return timer;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** The time until the next timer, in milliseconds. */
  get nextInMs() {
    return Math.min(...[...this.#timers].map(({ at }) => at)) - this.time;
  }

  get timers() {
    return this.#timers.size;
  }

  /** Passes time and runs each timer that is due. */
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

  /** Simulates a sleeping machine: time passes without timers. Overdue timers run afterwards. */
  async sleep(ms) {
    this.time += ms;
    await this.pass(0);
  }
}

/** Waits until all pending promise callbacks have run. */
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

  /** The sent frames with this op; of a Subscribe or Unsubscribe, one for each channel. */
  ops(op) {
    const frames = this.sent.filter((frame) => frame.op === op);
    if (op !== 4 && op !== 5) return frames;
    return frames.flatMap(({ channels }) => channels.map((one) => ({ op, ...(op === 4 ? one : { channel: one }) })));
  }
}

export const LIMITS = { identify_timeout: 10_000, message_bytes: 65_536, messages_per_minute: 120, subscriptions: 100 };

/** Starts a client with a fake environment, and records its events. */
export function start(options = {}) {
  const clock = new FakeClock();
  const sockets = [];
  let random = 0.5;
  let wake = () => {};
  const world = {
    clock,
    sockets,
    events: [],
    states: [],
    errors: [],
    logs: [],
    setRandom: (value) => (random = value),
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
    environment: { now: () => clock.time, random: () => random, setTimeout, clearTimeout, WebSocket },
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

/** Sends Hello on the latest socket and returns the Identify of the client. */
export async function hello(world, limits = LIMITS) {
  await settled();
  world.socket.receive({ op: 0, heartbeat_interval: 45_000, v: 2, session: '00', limits });
  await settled();
  return world.socket.ops(1)[0];
}

/** Sends Hello, and Ready with these channels and the session's own. Returns the Identify of the client. */
export async function ready(world, channels = [], more = {}) {
  const identify = await hello(world, more.limits);
  const own = ['user:42', 'all'].map((channel) => ({ channel, position: '1-0' }));
  const named = channels.map((channel) => channel.channel);
  const all = [...own.filter(({ channel }) => !named.includes(channel)), ...channels];
  world.socket.receive({ op: 2, user: '42', session: '00', expires_in: more.expires_in, channels: all });
  await settled();
  return identify;
}

/** Cuts the socket and returns the Identify on the next one. */
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
