/** Inside the worker: one client for all tabs with the same key, and what each tab wants of it. */

import { GatewayClient } from './client.js';
import type { ClientOptions, StateEvent } from './options.js';
import { MAX_UNTAKEN, type FromTab, type FromWorker } from './shared-messages.js';
import type { Subscription } from './subscription.js';
import type { TokenReason } from './token.js';

/** The part of a MessagePort that is used. */
export interface Port {
  postMessage(message: unknown): void;
  onmessage: ((event: any) => void) | null;
}

/** A tab that has not brought a token in this time is asked no more, but the next one. Milliseconds. */
const TOKEN_PATIENCE_MS = 3_000;

/** All clients of a worker. */
export class SharedHub {
  readonly #groups = new Map<string, Group>();
  readonly #overrides: Partial<ClientOptions>;

  /** @param overrides of the clients' options; for tests. */
  constructor(overrides: Partial<ClientOptions> = {}) {
    this.#overrides = overrides;
  }

  /** A tab has come; it says hello itself. */
  serve(port: Port): void {
    let tab: Tab | undefined;
    port.onmessage = ({ data }: { data: FromTab }) => {
      if (data.type === 'hello') {
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

  #join(port: Port, { key, settings, lock }: Extract<FromTab, { type: 'hello' }>): Tab {
    let group = this.#groups.get(key);
    if (!group) {
      group = new Group({ ...settings, ...this.#overrides }, () => this.#groups.delete(key));
      this.#groups.set(key, group);
    }
    const tab = new Tab(port, group);
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
  readonly #onEmpty: () => void;
  #nextRequest = 0;
  readonly #requests = new Map<number, (answer: Extract<FromTab, { type: 'token' }>) => void>();

  constructor(options: Omit<ClientOptions, 'token'>, onEmpty: () => void) {
    this.#onEmpty = onEmpty;
    this.client = new GatewayClient({ ...options, token: (reason) => this.#token(reason) });
    const { client } = this;
    client.on('state', (event) => {
      this.lastState = event;
      this.#tell({ type: 'state', event, user: client.user });
    });
    client.on('latency', (latencyMs) => this.#tell({ type: 'latency', latencyMs }));
    client.on('error', ({ where, error }) => this.#tell({ type: 'error', event: { where, message: String(error) } }));
    client.on('event', (event) => {
      if (client.isOwn(event.channel)) this.tabs.forEach((tab) => tab.hears(event.channel) || tab.give(event));
    });
  }

  onToken(answer: Extract<FromTab, { type: 'token' }>): void {
    this.#requests.get(answer.request)?.(answer);
  }

  left(): void {
    if (this.tabs.size > 0) return;
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
  #untaken = 0;
  #isGone = false;

  constructor(port: Port, group: Group) {
    this.#port = port;
    this.#group = group;
    group.tabs.add(this);
    const { client, lastState } = group;
    this.post({ type: 'welcome', state: lastState, user: client.user, latencyMs: client.latencyMs });
  }

  onMessage(message: Exclude<FromTab, { type: 'hello' | 'bye' }>): void {
    const { client } = this.#group;
    if (this.#isGone) return;
    switch (message.type) {
      case 'connect':
        return client.connect();
      case 'subscribe':
        return this.#subscribe(message.channel, message.since);
      case 'unsubscribe':
        this.#subscriptions.get(message.channel)?.unsubscribe();
        return void this.#subscriptions.delete(message.channel);
      case 'token':
        return this.#group.onToken(message);
      case 'wake':
        return client.wake(message.why);
      case 'taken':
        this.#untaken -= message.count;
    }
  }

  hears(channel: string): boolean {
    return this.#subscriptions.has(channel);
  }

  post(message: FromWorker): void {
    if (!this.#isGone) this.#port.postMessage(message);
  }

  /** Something on a channel. A tab that takes nothing is let go before it fills the memory. */
  give(event: Extract<FromWorker, { type: 'channel' }>['event']): void {
    if (++this.#untaken <= MAX_UNTAKEN) return this.post({ type: 'channel', event });
    this.post({ type: 'overflow' });
    this.leave();
  }

  leave(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#subscriptions.forEach((subscription) => subscription.unsubscribe());
    this.#group.tabs.delete(this);
    this.#group.left();
  }

  #subscribe(channel: string, since: string | undefined): void {
    if (this.hears(channel)) return;
    const subscription = this.#group.client.subscribe(channel, since === undefined ? {} : { since });
    this.#subscriptions.set(channel, subscription);
    subscription.on('event', (event) => this.give(event));
  }
}
