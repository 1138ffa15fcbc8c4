/** In a tab: the same client, but its socket is in a SharedWorker, shared with the other tabs. */

import { Emitter, Stream, type Off } from './emitter.js';
import { realEnvironment } from './environment.js';
import type { ClientEvents, ClientState, GatewayClientLike, StateEvent } from './options.js';
import { browserPresence, type Presence } from './presence.js';
import { SharedHub } from './shared-hub.js';
import { WorkerLink } from './shared-link.js';
import { holdLock } from './shared-lock.js';
import { LOST, TAKEN_EVERY } from './shared-messages.js';
import type { FromTab, FromWorker, Places, Port, SharedSettings } from './shared-messages.js';
import { Channel, type ChannelEvent, type Subscription, type SubscriptionContext } from './subscription.js';
import { askToken, type Token, type TokenReason } from './token.js';

export interface SharedClientOptions extends SharedSettings {
  /**
   * Gets the worker that runs `@emagine/gateway-client/shared-worker.js`, from the page's own origin; or a port to it. It is
   * called again when a worker has gone. Where it throws, or brings none that lives, this tab has a socket of its own.
   */
  worker: SharedWorker | Port | (() => SharedWorker | Port);
  /** How long a worker may be silent, where the browser does not say that it has gone. Milliseconds, 20000. */
  workerTimeoutMs?: number;
  /** As for GatewayClient. Any tab may be asked for the token. */
  token: Token;
  /** Tabs share a socket if this is the same: name the user in it, where tabs may have different ones. The URL. */
  key?: string;
  bufferSize?: number;
  presence?: Presence;
  /** As for GatewayClient: what the shared client does is told to each tab that has one. */
  log?: (what: string, detail: object) => void;
}

/** How long the app may take for a token, in milliseconds. The worker asks another tab before. */
const TOKEN_TIMEOUT_MS = 15_000;
/** So many workers may go, one after the other, before the tab does without. */
const MAX_LOST = 2;
/** Unless one has lasted this long. Milliseconds. */
const LASTING_MS = 60_000;

export class SharedClient implements GatewayClientLike {
  user: string | undefined;
  latencyMs: number | undefined;
  readonly #options: SharedClientOptions;
  #link: WorkerLink | undefined;
  #linkedAt = 0;
  #lost = 0;
  /** Where this tab has no worker: one of its own. */
  #ownHub: SharedHub | undefined;
  readonly #emitter: Emitter<ClientEvents>;
  readonly #channels = new Map<string, Channel>();
  readonly #streams = new Set<Stream<ChannelEvent>>();
  readonly #context: SubscriptionContext;
  /** Where the session's own channels are, subscribed or not. */
  #own: Places = {};
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
    const leaveAwake = (this.#options.presence ?? browserPresence)((why) => this.wake(why));
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
    this.#own = {};
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    this.#leave();
    // A worker that was given, and not got by a function, may be needed again.
    if (typeof this.#options.worker === 'function' || this.#ownHub) this.#unlink();
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
  async #join(again = false): Promise<void> {
    const visit = ++this.#visit;
    const { url, backoff, connectTimeoutMs, heartbeatTimeoutMs, key = url, log } = this.#options;
    const settings: SharedSettings = {
      url,
      ...(backoff && { backoff }),
      ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
      ...(heartbeatTimeoutMs !== undefined && { heartbeatTimeoutMs }),
    };
    this.#releaseLock?.();
    const lock = await holdLock('tab');
    if (visit !== this.#visit) return lock?.release();
    this.#releaseLock = lock?.release;
    this.#link ??= this.#connectWorker();
    this.#isJoined = true;
    this.#taken = 0;
    this.#post({ type: 'hello', key, settings, lock: lock?.name, own: this.#own, again, logs: log !== undefined });
    this.#link.watch();
    this.#channels.forEach(({ name, cursor }) => this.#post({ type: 'subscribe', channel: name, since: cursor }));
    this.#post({ type: 'connect' });
  }

  #leave(): void {
    this.#visit++;
    this.#post({ type: 'bye' });
    this.#isJoined = false;
    this.#link?.rest();
    this.#releaseLock?.();
    this.#releaseLock = undefined;
  }

  #unlink(): void {
    this.#link?.close();
    this.#link = undefined;
  }

  #connectWorker(): WorkerLink {
    this.#linkedAt = Date.now();
    return new WorkerLink(this.#findWorker(), {
      timeoutMs: this.#options.workerTimeoutMs ?? 20_000,
      onMessage: (message) => this.#onMessage(message),
      onLost: () => this.#onLost(),
    });
  }

  #findWorker(): SharedWorker | Port {
    const { worker } = this.#options;
    try {
      if (typeof worker !== 'function' && this.#lost === 0) return worker;
      if (typeof worker === 'function' && this.#lost < MAX_LOST) return worker();
    } catch (error) {
      this.#emitter.emit('error', { where: 'worker', error });
    }
    const { port1, port2 } = new MessageChannel();
    this.#ownHub ??= new SharedHub();
    this.#ownHub.serve(port2);
    return port1;
  }

  /** Goes on with another worker. All tabs get the same one, which waits for them before it connects. */
  #onLost(): void {
    if (Date.now() - this.#linkedAt > LASTING_MS) this.#lost = 0;
    this.#lost++;
    this.#link = undefined;
    this.#isJoined = false;
    if (!this.#wantsConnection) return;
    this.#log('lost', { reason: LOST, lost: this.#lost });
    this.#onState({ state: 'waiting', attempts: this.#lost, reason: LOST, retryInMs: 0 });
    if (this.#wantsConnection) void this.#join(true);
  }

  /** Looks at the connection at once. */
  wake(why = 'app'): void {
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
        this.latencyMs = message.latencyMs;
        this.#onUser(message.user);
        this.#own = { ...message.own, ...this.#own };
        return this.#onState(message.state);
      case 'state':
        this.#onUser(message.user);
        return this.#onState(message.event);
      case 'error':
        return this.#emitter.emit('error', { where: message.event.where, error: new Error(message.event.message) });
      case 'latency':
        return this.#emitter.emit('latency', (this.latencyMs = message.latencyMs));
      case 'log':
        return this.#log(message.what, message.detail);
      case 'token':
        return void this.#onToken(message.request, message.reason);
      case 'overflow':
        this.#isJoined = false;
        return void this.#join();
      case 'channel':
        return this.#onChannel(message.event);
    }
  }

  /** A worker that has not connected yet knows none. */
  #onUser(user: string | undefined): void {
    if (user !== undefined && this.user !== undefined && user !== this.user) this.#own = {};
    this.user = user ?? this.user;
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
    // Own channels are continued without having been asked for; somebody else's, after another login, are not.
    if (!channel && event.type === 'refused') return;
    if (channel && (event.type === 'subscribed' || event.type === 'recovering')) channel.state = event.type;
    if (channel && event.type === 'refused') [channel.state, channel.refusal] = ['refused', event.reason];
    channel?.emit(event);
    this.#emitter.emit(event.type, event as never);
    this.#emitter.emit('event', event);
    this.#streams.forEach((stream) => stream.push(event));
    if (!('position' in event) || !event.position || event.type === 'recovered') return;
    const isOwn = [`user:${this.user}`, 'all'].includes(event.channel);
    if (isOwn && (event.type !== 'subscribed' || !this.#own[event.channel])) this.#own[event.channel] = event.position;
    if (channel && (event.type !== 'subscribed' || channel.cursor === undefined)) channel.cursor = event.position;
  }

  async #onToken(request: number, reason: TokenReason): Promise<void> {
    try {
      const token = await askToken(this.#options.token, reason, TOKEN_TIMEOUT_MS, realEnvironment());
      this.#post({ type: 'token', request, token });
    } catch (error) {
      this.#post({ type: 'token', request, token: null, failed: String(error) });
    }
  }

  #log(what: string, detail: object): void {
    try {
      this.#options.log?.(what, detail);
    } catch {
      // A log must not decide whether anything is heard.
    }
  }

  #post(message: FromTab): void {
    if (this.#isJoined) this.#link?.post(message);
  }
}
