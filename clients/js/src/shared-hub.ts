/** In the worker: one client for all tabs with the same key, and each tab's subscriptions. */

import { GatewayClient } from './client.js';
import type { ClientOptions, StateEvent } from './options.js';
import { LOST, MAX_UNTAKEN, textOf, VERSION } from './shared-messages.js';
import type { FromTab, FromWorker, Port, Positions } from './shared-messages.js';
import { RecentMessages } from './shared-recent.js';
import { SharedRequests } from './shared-requests.js';
import { SINCE_CONFLICT, type ChannelEvent, type Subscription } from './subscription.js';
import type { TokenReason } from './token.js';

/** If a tab does not send a token in this time, the next tab is asked. Milliseconds. */
const TOKEN_PATIENCE_MS = 3_000;
/**
 * The time for tabs that have lost their worker to join the new one before it connects.
 * Milliseconds.
 */
const GATHER_MS = 250;
/** A random addition, because other workers may have ended at the same time. Milliseconds. */
const GATHER_SPREAD_MS = 750;

/** All clients of a worker. */
export class SharedHub {
  readonly #groups = new Map<string, Group>();
  readonly #overrides: Partial<ClientOptions>;
  readonly #alive: Promise<string | undefined>;

  /**
   * @param overrides of the clients' options; for tests.
   * @param alive the name of a lock that this worker holds while it lives.
   */
  constructor(overrides: Partial<ClientOptions> = {}, alive: Promise<string | undefined> = Promise.resolve(undefined)) {
    this.#overrides = overrides;
    this.#alive = alive;
  }

  /** Serves a tab, which sends hello first. */
  serve(port: Port): void {
    let tab: Tab | undefined;
    let isOther = false;
    const answer = (message: FromWorker) => port.postMessage(message);
    void this.#alive.then((lock) => lock && answer({ type: 'alive', lock }));
    port.onmessage = ({ data }: { data: FromTab }) => {
      if (data.type === 'hello') isOther = data.version !== VERSION;
      // A tab without answers to its pings stops using this worker, even if it ignores versions.
      if (isOther) return data.type === 'hello' ? answer({ type: 'version', version: VERSION }) : undefined;
      if (data.type === 'ping') {
        answer({ type: 'pong' });
      } else if (data.type === 'hello') {
        tab?.leave();
        tab = this.#join(port, data);
      } else if (data.type === 'bye') {
        tab?.leave();
        tab = undefined;
      } else {
        tab?.onMessage(data);
      }
    };
  }

  #join(port: Port, { visit, key, settings, lock, own, again, logs }: Extract<FromTab, { type: 'hello' }>): Tab {
    let group = this.#groups.get(key);
    if (!group) {
      group = new Group({ ...settings, ...this.#overrides }, () => this.#groups.delete(key));
      this.#groups.set(key, group);
      if (again) group.gather();
    }
    const tab = new Tab(port, group, logs, visit);
    tab.goOn(own);
    // The tab holds the lock while it lives. When the worker acquires it, the tab is gone.
    if (lock) void navigator.locks.request(lock, () => tab.leave());
    return tab;
  }
}

/** The tabs that share one client. */
class Group {
  readonly client: GatewayClient;
  readonly tabs = new Set<Tab>();
  lastState: StateEvent = { state: 'idle', attempts: 0 };
  /** The positions of the session's own channels. */
  own: Positions = {};
  readonly requests = new SharedRequests(() => this.client.ask());
  readonly recent = new RecentMessages();
  readonly #onEmpty: () => void;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #nextRequest = 0;
  readonly #requests = new Map<number, (answer: Extract<FromTab, { type: 'token' }>) => void>();

  constructor(options: Omit<ClientOptions, 'token'>, onEmpty: () => void) {
    this.#onEmpty = onEmpty;
    const log = (what: string, detail: object) => this.tabs.forEach((tab) => tab.logs && tab.post({ type: 'log', what, detail }));
    this.client = new GatewayClient({ log, ...options, token: (reason) => this.#token(reason) });
    const { client } = this;
    client.ask(this.requests);
    client.on('state', (event) => {
      this.lastState = event;
      if (event.state !== 'connected') this.requests.clear();
      this.#tell({ type: 'state', event, user: client.user });
    });
    client.on('latency', (latencyMs) => this.#tell({ type: 'latency', latencyMs }));
    client.on('error', ({ where, error }) => this.#tell({ type: 'error', event: { where, ...textOf(error) } }));
    client.on('event', (event) => {
      this.recent.note(event);
      if (![`user:${client.user}`, 'all'].includes(event.channel)) return;
      if ('position' in event && event.position) this.own[event.channel] = event.position;
      this.tabs.forEach((tab) => tab.hears(event.channel) || tab.give(event));
    });
  }

  /** Delays the first connection, so that every tab can report its positions before. */
  gather(): void {
    const retryInMs = GATHER_MS + Math.random() * GATHER_SPREAD_MS;
    this.lastState = { state: 'waiting', attempts: 0, reason: LOST, retryInMs };
    this.#gathering = setTimeout(() => {
      this.#gathering = undefined;
      this.client.connect();
    }, retryInMs);
  }

  connect(): void {
    if (this.#gathering === undefined) this.client.connect();
  }

  onToken(answer: Extract<FromTab, { type: 'token' }>): void {
    this.#requests.get(answer.request)?.(answer);
  }

  /** A tab has unsubscribed from a channel. */
  unsubscribed(channel: string): void {
    if (![...this.tabs].some((tab) => tab.hears(channel))) this.recent.forget(channel);
  }

  left(): void {
    if (this.tabs.size > 0) return;
    clearTimeout(this.#gathering);
    this.client.close();
    this.#onEmpty();
  }

  #tell(message: FromWorker): void {
    this.tabs.forEach((tab) => tab.post(message));
  }

  /** Asks the latest tab, then the one before it, and so on, because any of them may be frozen. */
  #token(reason: TokenReason): Promise<string | null> {
    const request = this.#nextRequest++;
    const asked = [...this.tabs];
    return new Promise<string | null>((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const next = () => {
        const tab = asked.pop();
        if (!tab) return finish(() => reject(new Error('no tab brought a token')));
        tab.post({ type: 'token', request, reason });
        timer = setTimeout(next, TOKEN_PATIENCE_MS);
      };
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        this.#requests.delete(request);
        settle();
      };
      this.#requests.set(request, ({ token, failed }) =>
        finish(() => (failed === undefined ? resolve(token) : reject(new Error(failed)))),
      );
      next();
    });
  }
}

/** A subscription of a tab. `id` is the tab's request, if it made one. */
interface Listened {
  channel: string;
  since: string | undefined;
  last: number;
  id: number | undefined;
  /** At another position than other tabs, the tab gets a gap. */
  again: boolean;
}

/** One tab, in the worker. */
class Tab {
  readonly #port: Port;
  readonly #group: Group;
  readonly #subscriptions = new Map<string, Subscription>();
  /** The session's own channels on which the tab had a position. */
  readonly #continued = new Map<string, Subscription>();
  #untaken = 0;
  #isGone = false;

  constructor(
    port: Port,
    group: Group,
    readonly logs: boolean,
    visit: number,
  ) {
    this.#port = port;
    this.#group = group;
    group.tabs.add(this);
    const { client, lastState } = group;
    const { user, latencyMs } = client;
    this.post({ type: 'welcome', version: VERSION, visit, state: lastState, user, latencyMs, own: group.own });
  }

  /** Continues the session's own channels, which no tab requests, from the tab's positions. */
  goOn(own: Positions): void {
    for (const [channel, since] of Object.entries(own)) {
      if (this.#group.own[channel] !== since) this.#listen(this.#continued, { channel, since, last: 0, id: undefined, again: true });
    }
  }

  onMessage(message: Exclude<FromTab, { type: 'hello' | 'bye' | 'ping' }>): void {
    const { client } = this.#group;
    if (this.#isGone) return;
    switch (message.type) {
      case 'connect':
        return this.#group.connect();
      case 'subscribe':
        return this.#subscribe(message);
      case 'unsubscribe':
        this.#subscriptions.get(message.channel)?.unsubscribe();
        this.#subscriptions.delete(message.channel);
        return this.#group.unsubscribed(message.channel);
      case 'token':
        return this.#group.onToken(message);
      case 'wake':
        return client.wake(message.why);
      case 'refresh':
        return client.refresh();
      case 'ask':
        this.#group.requests.add(this, message.frame);
        return void client.ask();
      case 'post':
        if (message.frame.id !== undefined) this.#group.requests.posted(this, message.frame.id);
        return client.post(message.frame);
      case 'taken':
        this.#untaken -= message.count;
    }
  }

  hears(channel: string): boolean {
    return this.#subscriptions.has(channel) || this.#continued.has(channel);
  }

  post(message: FromWorker): void {
    if (!this.#isGone) this.#port.postMessage(message);
  }

  /** Sends an event. A tab that handles none is dropped before its events fill the memory. */
  give(event: ChannelEvent, id?: number): void {
    if (++this.#untaken <= MAX_UNTAKEN) return this.post({ type: 'channel', event, id });
    this.post({ type: 'overflow' });
    this.leave();
  }

  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    for (const all of [this.#subscriptions, this.#continued]) all.forEach((one) => one.unsubscribe());
    this.#group.tabs.delete(this);
    this.#subscriptions.forEach((_, channel) => this.#group.unsubscribed(channel));
    this.#group.requests.leave(this);
    this.#group.left();
  }

  #subscribe(wanted: Extract<FromTab, { type: 'subscribe' }>): void {
    const { channel, last } = wanted;
    if (this.#subscriptions.has(channel)) return;
    if (last > 0) this.#group.recent.want(channel, last);
    this.#listen(this.#subscriptions, wanted);
    // Afterwards, so that the channel always has a subscription.
    this.#continued.get(channel)?.unsubscribe();
    this.#continued.delete(channel);
  }

  #listen(all: Map<string, Subscription>, { channel, since, last, id, again }: Listened): void {
    const { client, recent } = this.#group;
    const subscription = client.subscribe(channel, { since, last });
    all.set(channel, subscription);
    let isBegun = since !== undefined;
    subscription.on('event', (event) => {
      if (again && event.type === 'refused' && event.reason === SINCE_CONFLICT) {
        // Other tabs are at another position: this one continues from it, and gets a gap.
        this.#listen(all, { channel, since: undefined, last, id, again: false });
        const { position } = all.get(channel)!;
        return this.give({ type: 'gap', channel, reason: 'not_recovered', ...(position !== undefined && { position }) }, id);
      }
      // Another tab began earlier: this one begins with the newest messages that the worker knows.
      const isLate = event.type === 'subscribed' && event.last === undefined && !isBegun;
      const first = isLate ? recent.of(channel, last) : undefined;
      if (event.type === 'subscribed') isBegun = true;
      this.give(first ? { ...event, last: first.length } as ChannelEvent : event, id);
      first?.forEach((message) => this.give(message, id));
    });
  }
}
