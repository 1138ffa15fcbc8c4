/** Inside the worker: one client for all tabs with the same key, and what each tab wants of it. */

import { GatewayClient } from './client.js';
import type { ClientOptions, StateEvent } from './options.js';
import { LOST, MAX_UNTAKEN, VERSION } from './shared-messages.js';
import type { FromTab, FromWorker, Port, Positions } from './shared-messages.js';
import { SINCE_CONFLICT, type ChannelEvent, type Subscription } from './subscription.js';
import type { TokenReason } from './token.js';

/** A tab that has not brought a token in this time is asked no more, but the next one. Milliseconds. */
const TOKEN_PATIENCE_MS = 3_000;
/** Tabs that have lost their worker have this long to come to the new one before it connects. Milliseconds. */
const GATHER_MS = 250;
/** And at random as much more: whatever ended the worker may have ended others. Milliseconds. */
const GATHER_SPREAD_MS = 750;

/** All clients of a worker. */
export class SharedHub {
  readonly #groups = new Map<string, Group>();
  readonly #overrides: Partial<ClientOptions>;
  readonly #alive: Promise<string | undefined>;

  /**
   * @param overrides of the clients' options; for tests.
   * @param alive the name of a lock that is held as long as this worker lives.
   */
  constructor(overrides: Partial<ClientOptions> = {}, alive: Promise<string | undefined> = Promise.resolve(undefined)) {
    this.#overrides = overrides;
    this.#alive = alive;
  }

  /** A tab has come; it says hello itself. */
  serve(port: Port): void {
    let tab: Tab | undefined;
    let isOther = false;
    const answer = (message: FromWorker) => port.postMessage(message);
    void this.#alive.then((lock) => lock && answer({ type: 'alive', lock }));
    port.onmessage = ({ data }: { data: FromTab }) => {
      if (data.type === 'hello') isOther = data.version !== VERSION;
      // Without answers to its pings the tab stops using this worker, even if it does not know versions.
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
    // The tab holds it as long as it lives: whoever gets it knows that the tab is gone, however it went.
    if (lock) void navigator.locks.request(lock, () => tab.leave());
    return tab;
  }
}

/** The tabs that share one client. */
class Group {
  readonly client: GatewayClient;
  readonly tabs = new Set<Tab>();
  lastState: StateEvent = { state: 'idle', attempts: 0 };
  /** Where the session's own channels are. */
  own: Positions = {};
  readonly #onEmpty: () => void;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #nextRequest = 0;
  readonly #requests = new Map<number, (answer: Extract<FromTab, { type: 'token' }>) => void>();

  constructor(options: Omit<ClientOptions, 'token'>, onEmpty: () => void) {
    this.#onEmpty = onEmpty;
    const log = (what: string, detail: object) => this.tabs.forEach((tab) => tab.logs && tab.post({ type: 'log', what, detail }));
    this.client = new GatewayClient({ log, ...options, token: (reason) => this.#token(reason) });
    const { client } = this;
    client.on('state', (event) => {
      this.lastState = event;
      this.#tell({ type: 'state', event, user: client.user });
    });
    client.on('latency', (latencyMs) => this.#tell({ type: 'latency', latencyMs }));
    client.on('error', ({ where, error }) => this.#tell({ type: 'error', event: { where, message: String(error) } }));
    client.on('event', (event) => {
      if (!client.isOwn(event.channel)) return;
      if ('position' in event && event.position) this.own[event.channel] = event.position;
      this.tabs.forEach((tab) => tab.hears(event.channel) || tab.give(event));
    });
  }

  /** Waits with the first connection until every tab has had the time to say where it is. */
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

  left(): void {
    if (this.tabs.size > 0) return;
    clearTimeout(this.#gathering);
    this.client.close();
    this.#onEmpty();
  }

  #tell(message: FromWorker): void {
    this.tabs.forEach((tab) => tab.post(message));
  }

  /** Asks the tab that came last, then the one before it, and so on: any may be frozen. */
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

/** One tab, as the worker sees it. */
class Tab {
  readonly #port: Port;
  readonly #group: Group;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Those of the session's own channels that the tab had a place on. */
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

  /** Continues the session's own channels, which no tab asks for, from where the tab is. */
  goOn(own: Positions): void {
    for (const [channel, since] of Object.entries(own)) {
      if (this.#group.own[channel] !== since) this.#listen(this.#continued, channel, since, undefined, true);
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
        return void this.#subscriptions.delete(message.channel);
      case 'token':
        return this.#group.onToken(message);
      case 'wake':
        return client.wake(message.why);
      case 'refresh':
        return client.refresh();
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

  /** Something on a channel. A tab that takes nothing is let go before it fills the memory. */
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
    this.#group.left();
  }

  #subscribe({ channel, since, id, again }: Extract<FromTab, { type: 'subscribe' }>): void {
    if (this.#subscriptions.has(channel)) return;
    this.#listen(this.#subscriptions, channel, since, id, again);
    // After the other, so that the channel is never without one.
    this.#continued.get(channel)?.unsubscribe();
    this.#continued.delete(channel);
  }

  #listen(
    all: Map<string, Subscription>,
    channel: string,
    since: string | undefined,
    id: number | undefined,
    again: boolean,
  ): void {
    const subscription = this.#group.client.subscribe(channel, { since });
    all.set(channel, subscription);
    subscription.on('event', (event) => {
      if (!again || event.type !== 'refused' || event.reason !== SINCE_CONFLICT) return this.give(event, id);
      // Other tabs are at another position: this one continues from it, and gets a gap.
      this.#listen(all, channel, undefined, id, false);
      const { position } = all.get(channel)!;
      this.give({ type: 'gap', channel, reason: 'not_recovered', ...(position !== undefined && { position }) }, id);
    });
  }
}
