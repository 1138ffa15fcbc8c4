// The adapter of this client for clients/conformance. The README there describes the commands and replies.
import { createInterface } from 'node:readline';

const world = { now: 0, random: 0.5, timers: new Set(), sockets: [], asked: [], effects: [] };
const realSetImmediate = setImmediate;
const report = (type, fields) => world.effects.push({ type, ...fields });

// The core takes its environment as an option, but the entry points use the globals.
globalThis.setTimeout = (callback, delayMs = 0) => {
  const timer = { at: world.now + delayMs, callback };
  world.timers.add(timer);
  return timer;
};
globalThis.clearTimeout = (timer) => world.timers.delete(timer);
Date.now = () => 1_700_000_000_000 + world.now;
Math.random = () => world.random;

globalThis.WebSocket = class {
  constructor(url) {
    this.socket = world.sockets.push(this);
    report('open', { socket: this.socket, url });
  }

  send(text) {
    report('frame', { socket: this.socket, text });
  }

  close(code) {
    report('close', { socket: this.socket, code });
    this.end({ code: code ?? 1005 });
  }

  end(event) {
    if (this.isOver) return;
    this.isOver = true;
    this.onclose?.({ reason: '', ...event });
  }
};

const { GatewayClient } = await import('../../dist/index.js');
const { send, signal, history } = await import('../../dist/messages.js');
const { presence } = await import('../../dist/presence.js');

let client;
let subscriptions;

async function start({ options, random }) {
  client?.close();
  await settled();
  Object.assign(world, { random, timers: new Set(), sockets: [], asked: [], effects: [] });
  subscriptions = new Map();
  const ask = (reason) => {
    report('token', { reason });
    return new Promise((resolve, reject) => world.asked.push({ resolve, reject }));
  };
  client = new GatewayClient({
    url: options.url,
    token: options.token ?? ask,
    backoff: {
      baseMs: options.backoff_base_ms,
      maxMs: options.backoff_max_ms,
      stableMs: options.backoff_stable_ms,
    },
    connectTimeoutMs: options.connect_timeout_ms,
    heartbeatTimeoutMs: options.heartbeat_timeout_ms,
  });
  client.on('state', ({ state, code }) => report('state', { state, code }));
  client.on('error', ({ where }) => report('error', { where }));
  client.on('event', ({ type, presence: room, ...event }) => report('event', { event: type, ...room, ...event }));
}

/** Reports the result of a promise. */
function settle(as, promise, fieldsOf) {
  const failed = ({ code }) => report('failed', { as, code });
  promise.then((value) => report('done', { as, ...fieldsOf(value) }), failed);
}

const ACTIONS = {
  connect: () => client.connect(),
  close: () => client.close(),
  disconnect: () => client.disconnect(),
  refresh: () => client.refresh(),
  wake: () => client.wake(),
  subscribe({ channel, since, last }) {
    subscriptions.set(channel, client.subscribe(channel, { since, last }));
  },
  unsubscribe({ channel }) {
    subscriptions.get(channel).unsubscribe();
  },
  send({ as, channel, message, id }) {
    settle(as, send(client, channel, message, { id }), (sent) => ({ id: sent }));
  },
  signal: ({ channel, signal: value }) => signal(client, channel, value),
  history: ({ as, channel, before, limit }) => settle(as, history(client, channel, { before, limit }), (page) => page),
  members({ as, channel, after }) {
    const room = presence(client, channel);
    settle(as, room.members({ after }).finally(() => room.close()), (page) => page);
  },
};

const COMMANDS = {
  start,
  do({ action, ...given }) {
    // A call may return a promise. Its failure is no concern of the kit: the events report it.
    Promise.resolve(ACTIONS[action](given)).catch(() => {});
  },
  accept: ({ socket }) => world.sockets[socket - 1].onopen?.({}),
  receive({ socket, text }) {
    const { isOver, onmessage } = world.sockets[socket - 1];
    if (!isOver) onmessage?.({ data: text });
  },
  close: ({ socket, code, reason }) => world.sockets[socket - 1].end({ code, reason }),
  cut: ({ socket }) => world.sockets[socket - 1].end({ code: 1006 }),
  refuse: ({ socket }) => world.sockets[socket - 1].end({ code: 1006 }),
  async advance({ ms }) {
    world.now += ms;
    for (let due; (due = [...world.timers].find(({ at }) => at <= world.now)); ) {
      world.timers.delete(due);
      due.callback();
      await settled();
    }
  },
  random: ({ value }) => (world.random = value),
  token: ({ token, error }) => {
    const { resolve, reject } = world.asked.shift();
    error ? reject(new Error('no token')) : resolve(token);
  },
};

const FEATURES = ['history', 'last', 'members', 'presence', 'refresh', 'send', 'signal', 'token_function', 'wake'];
if ('disconnect' in GatewayClient.prototype) FEATURES.push('disconnect');

/** Waits until the client has nothing left to do now. */
async function settled() {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => realSetImmediate(resolve));
}

for await (const line of createInterface({ input: process.stdin })) {
  const { cmd, ...given } = JSON.parse(line);
  let reply = { client: '@emagine/gateway-client', features: FEATURES };
  if (cmd !== 'info') {
    await COMMANDS[cmd](given);
    await settled();
    const times = [...world.timers].map(({ at }) => Math.max(0, at - world.now));
    reply = { effects: world.effects, next: times.length ? Math.min(...times) : null };
    world.effects = [];
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
