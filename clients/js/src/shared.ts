/** In a tab: the same client, but its socket is in a SharedWorker, shared with the other tabs. */

import { Emitter, Stream, type Off } from './emitter.js';
import { realEnvironment } from './environment.js';
import type { ClientEvents, ClientState, GatewayClientLike, StateEvent } from './options.js';
import { browserPresence, type Presence } from './presence.js';
import { TAKEN_EVERY, type FromTab, type FromWorker, type SharedSettings } from './shared-messages.js';
import type { Port } from './shared-hub.js';
import { Channel, type ChannelEvent, type Subscription, type SubscriptionContext } from './subscription.js';
import { askToken, type Token, type TokenReason } from './token.js';

export interface SharedClientOptions extends SharedSettings {
  /** The worker that runs `@emagine/gateway-client/shared-worker.js`, from the page's own origin; or a port to it. */
  worker: SharedWorker | Port;
  /** As for GatewayClient. Any tab may be asked for the token. */
  token: Token;
  /** Tabs share a socket if this is the same: name the user in it, where tabs may have different ones. The URL. */
  key?: string;
  bufferSize?: number;
  presence?: Presence;
}

/** How long the app may take for a token, in milliseconds. The worker asks another tab before. */
const TOKEN_TIMEOUT_MS = 15_000;

export class SharedClient implements GatewayClientLike {
  user: string | undefined;
  latencyMs: number | undefined;
  readonly #options: SharedClientOptions;
  readonly #port: Port;
  readonly #emitter: Emitter<ClientEvents>;
  readonly #channels = new Map<string, Channel>();
  readonly #streams = new Set<Stream<ChannelEvent>>();
  readonly #context: SubscriptionContext;
  #state: ClientState = 'idle';
  /** What the worker is told waits until it has been greeted. */
  #isJoined = false;
  #wantsConnection = false;
  #taken = 0;
  #visit = 0;
  #leavePresence: Off | undefined;
  #releaseLock: Off | undefined;

  constructor(options: SharedClientOptions) {
    this.#options = options;
    this.#port = 'port' in options.worker ? (options.worker.port as Port) : options.worker;
    this.#port.onmessage = ({ data }: { data: FromWorker }) => this.#onMessage(data);
    const onThrown = (error: unknown) => console.error(error);
    this.#emitter = new Emitter<ClientEvents>(onThrown);
    const onWanted = (channel: Channel, since?: string) => this.#onWanted(channel, since);
    this.#context = { bufferSize: options.bufferSize ?? 10_000, onThrown, onWanted };
  }

  get state(): ClientState {
    return this.#state;
  }

  connect(): void {
    if (this.#wantsConnection && this.#state !== 'closed') return;
    const isNew = !this.#wantsConnection;
    this.#wantsConnection = true;
    if (!isNew) return this.#post({ type: 'connect' });
    const leaveAwake = (this.#options.presence ?? browserPresence)((why) => this.#wake(why));
    const onHide = () => this.#leave();
    const scope = globalThis as { addEventListener?: Function; removeEventListener?: Function };
    scope.addEventListener?.('pagehide', onHide);
    this.#leavePresence = () => {
      leaveAwake();
      scope.removeEventListener?.('pagehide', onHide);
    };
    void this.#join();
  }

  /** Leaves the shared socket to the other tabs. The last one to leave closes it. */
  close(): void {
    this.#wantsConnection = false;
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    this.#leave();
    this.#channels.forEach((channel) => channel.subscriptions.forEach((subscription) => subscription.unsubscribe()));
    this.#streams.forEach((stream) => stream.finish());
    this.#onState({ state: 'closed', attempts: 0, reason: 'closed by the app' });
  }

  subscribe(name: string, { since }: { since?: string } = {}): Subscription {
    let channel = this.#channels.get(name);
    if (!channel) this.#channels.set(name, (channel = new Channel(name, this.#context)));
    return channel.subscribe(since);
  }

  on<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents[Type]) => void): Off {
    return this.#emitter.on(type, listener);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent> {
    const stream: Stream<ChannelEvent> = new Stream(this.#context.bufferSize, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** Greets the worker and asks for everything again, each channel from where it is here. */
  async #join(): Promise<void> {
    const visit = ++this.#visit;
    const { worker: _, token: __, key, bufferSize: ___, presence: ____, ...settings } = this.#options;
    const lock = await this.#holdLock();
    if (visit !== this.#visit) return;
    this.#isJoined = true;
    this.#taken = 0;
    this.#post({ type: 'hello', key: key ?? settings.url, settings, lock });
    this.#channels.forEach(({ name, cursor }) => this.#post({ type: 'subscribe', channel: name, since: cursor }));
    this.#post({ type: 'connect' });
  }

  #leave(): void {
    this.#visit++;
    this.#post({ type: 'bye' });
    this.#isJoined = false;
    this.#releaseLock?.();
    this.#releaseLock = undefined;
  }

  /** Holds a lock that only the end of this page (or leaving) releases, and returns its name. */
  #holdLock(): Promise<string | undefined> {
    const locks = (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks;
    if (!locks) return Promise.resolve(undefined);
    this.#releaseLock?.();
    const name = `emagine-gateway-${Date.now()}-${Math.random()}`;
    return new Promise((resolve) => {
      const released = new Promise<void>((release) => (this.#releaseLock = release));
      const held = locks.request(name, () => {
        resolve(name);
        return released;
      });
      // Not allowed here: the worker learns that the tab has gone by its goodbye.
      held.catch(() => resolve(undefined));
    });
  }

  #wake(why: string): void {
    // Back from the browser's cache of pages: the worker has forgotten this tab.
    if (this.#isJoined) this.#post({ type: 'wake', why });
    else if (this.#wantsConnection && why === 'pageshow') void this.#join();
  }

  #onWanted(channel: Channel, since: string | undefined): void {
    const { name } = channel;
    if (!channel.isWanted) {
      this.#channels.delete(name);
      return this.#post({ type: 'unsubscribe', channel: name });
    }
    channel.cursor = since ?? channel.cursor;
    this.#post({ type: 'subscribe', channel: name, since: channel.cursor });
  }

  #onMessage(message: FromWorker): void {
    switch (message.type) {
      case 'welcome':
        [this.user, this.latencyMs] = [message.user, message.latencyMs];
        return this.#onState(message.state);
      case 'state':
        this.user = message.user;
        return this.#onState(message.event);
      case 'error':
        return this.#emitter.emit('error', { where: message.event.where, error: new Error(message.event.message) });
      case 'latency':
        return this.#emitter.emit('latency', (this.latencyMs = message.latencyMs));
      case 'token':
        return void this.#onToken(message.request, message.reason);
      case 'overflow':
        this.#isJoined = false;
        return void this.#join();
      case 'channel':
        return this.#onChannel(message.event);
    }
  }

  #onState(event: StateEvent): void {
    this.#state = event.state;
    if (event.state !== 'connected') this.#channels.forEach((channel) => (channel.state = 'pending'));
    this.#emitter.emit('state', event);
  }

  /** The rule of the cursor, as in Channels: it moves when the app has been told. */
  #onChannel(event: ChannelEvent): void {
    if (++this.#taken % TAKEN_EVERY === 0) this.#post({ type: 'taken', count: TAKEN_EVERY });
    const channel = this.#channels.get(event.channel);
    if (channel && event.type === 'subscribed') channel.state = 'subscribed';
    if (channel && event.type === 'refused') [channel.state, channel.refusal] = ['refused', event.reason];
    channel?.emit(event);
    this.#emitter.emit(event.type, event as never);
    this.#emitter.emit('event', event);
    this.#streams.forEach((stream) => stream.push(event));
    if (!channel || !('position' in event) || !event.position) return;
    const isFirst = event.type === 'subscribed' && channel.cursor === undefined;
    if (isFirst || event.type === 'message' || event.type === 'gap') channel.cursor = event.position;
  }

  async #onToken(request: number, reason: TokenReason): Promise<void> {
    try {
      const token = await askToken(this.#options.token, reason, TOKEN_TIMEOUT_MS, realEnvironment());
      this.#post({ type: 'token', request, token });
    } catch (error) {
      this.#post({ type: 'token', request, token: null, failed: String(error) });
    }
  }

  #post(message: FromTab): void {
    if (this.#isJoined) this.#port.postMessage(message);
  }
}
