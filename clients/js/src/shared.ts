/** The client in a tab: its socket is in a SharedWorker, shared with other tabs. */

import { ClientBase } from './client-base.js';
import type { Off } from './emitter.js';
import { GatewayError } from './errors.js';
import { realEnvironment, Timer } from './environment.js';
import type { AnyChannels, ChannelName, MessageOf } from './channel-map.js';
import type { ErrorEvent, GatewayClientLike } from './options.js';
import type { Requester } from './protocol.js';
import { EventQueue } from './queue.js';
import { SharedHub } from './shared-hub.js';
import { WorkerLink } from './shared-link.js';
import { holdLock } from './shared-lock.js';
import { errorOf, LOST, TAKEN_EVERY, VERSION } from './shared-messages.js';
import type { FromTab, FromWorker, Port, Positions, RequestFrame } from './shared-messages.js';
import { findKey, keyOf, LASTING_MS, logTo, MAX_ENDS, MAX_LOST, PAUSE_MS } from './shared-options.js';
import { settingsOf, tokenOf, type SharedClientOptions } from './shared-options.js';
import { Channel, subscribe } from './subscription.js';
import type { StateEvent } from './state.js';
import type { ChannelEvent, SubscribeOptions, Subscription, SubscriptionContext } from './subscription.js';
import type { TokenReason } from './token.js';
import { watchTab } from './visibility.js';

export { BufferOverflow, GatewayError } from './errors.js';
export type { SharedClientOptions } from './shared-options.js';

/**
 * A client whose socket is in a SharedWorker, shared with the tabs that have the same key. It has
 * the same members as GatewayClient, which GatewayClientLike describes. If no worker can be used,
 * it opens its own socket.
 */
export class SharedClient<Channels extends object = AnyChannels> extends ClientBase<Channels> implements GatewayClientLike {
  readonly #options: SharedClientOptions;
  #link: WorkerLink | undefined;
  #linkedAt = 0;
  #lost = 0;
  /** The hub in this tab, if it has no worker. */
  #ownHub: SharedHub | undefined;
  readonly #queue = new EventQueue();
  readonly #channels = new Map<string, Channel>();
  /** The channels requested from the worker, and the number of the request. */
  readonly #asked = new Map<string, number>();
  /** Channels to request again, at a position that the app has set. */
  readonly #moved = new Set<Channel>();
  readonly #context: SubscriptionContext;
  /** The positions of the session's own channels, subscribed or not. */
  #own: Positions = {};
  #key: string | undefined;
  /** Whether the tab has sent hello. No other message is sent before. */
  #isJoined = false;
  /** The worker has answered this visit's hello. Its later messages belong to this visit. */
  #isWelcome = false;
  #wantsConnection = false;
  #isFlushing = false;
  readonly #retry = new Timer(realEnvironment());
  #ends = 0;
  #taken = 0;
  #requests = 0;
  readonly #requesters = new Set<Requester>();
  #visit = 0;
  #leavePresence: Off | undefined;
  #releaseLock: Off | undefined;

  constructor(options: SharedClientOptions) {
    super(options.bufferSize);
    this.#options = options;
    this.#context = {
      own: [],
      bufferSize: options.bufferSize,
      onThrown: (error) => this.onThrown(error),
      onWanted: (channel, isMoved) => this.#onWanted(channel, isMoved),
      onEvent: (event) => this.tell(event),
      soon: (task) => queueMicrotask(() => this.#queue.push(task)),
      later: (task) => void setTimeout(() => this.#queue.push(task), 0),
    };
  }

  connect(): Promise<void> {
    this.#queue.run(() => {
      if ((this.#wantsConnection && this.state !== 'closed') || this.#retry.isSet) return;
      this.failure = undefined;
      if (this.#ends > MAX_ENDS) {
        this.#ends = 0;
        return this.#retry.set(PAUSE_MS, () => void this.connect());
      }
      this.#onState({ state: 'connecting', attempts: 0 });
      if (this.#wantsConnection) return void this.#comeAgain();
      this.#wantsConnection = true;
      this.#leavePresence = watchTab(this.#options.presence, (why) => this.wake(why), () => this.#leave());
      void this.#join();
    });
    return this.ready();
  }

  /** Leaves the worker. Subscriptions keep their positions. The last tab to leave ends the socket. */
  disconnect(): void {
    this.#queue.run(() => {
      this.#rest();
      this.failure = new GatewayError('disconnected');
      this.emit('ready');
      if (this.state === 'closed' || this.state === 'idle') return;
      this.#onState({ state: 'idle', attempts: 0, reason: 'disconnected' });
    });
  }

  /** Ends this tab's subscriptions and iterations. The last tab to close ends the socket. */
  override close(): void {
    this.#queue.run(() => {
      this.#rest();
      this.#own = {};
      // A worker that is not the result of a function may be needed again.
      if (typeof this.#options.worker === 'function' || this.#ownHub) this.#unlink();
      this.#channels.forEach((channel) => channel.subscriptions.forEach((subscription) => subscription.unsubscribe()));
      this.#channels.clear();
      this.finish();
      this.#onState({ state: 'closed', attempts: 0, reason: 'closed by the app' });
    });
  }

  subscribe<Name extends ChannelName<Channels>, Message = MessageOf<Channels, Name>>(
    name: Name,
    options?: SubscribeOptions<Message>,
  ): Subscription<Message, Name> {
    return subscribe(name, options, this.#context, () => {
      let channel = this.#channels.get(name);
      if (!channel) this.#channels.set(name, (channel = new Channel(name, this.#context)));
      return channel;
    }) as Subscription<Message, any>;
  }

  wake(why = 'app'): void {
    // Restored from the back/forward cache: the worker no longer knows this tab.
    if (this.#isJoined) this.#post({ type: 'wake', why });
    else if (this.#wantsConnection && why === 'pageshow') void this.#join();
  }

  refresh(): void {
    this.#post({ type: 'refresh' });
  }

  /** @internal As in RequestingClient. A request to no worker gets no answer, and times out. */
  ask(requester?: Requester): void {
    if (requester) this.#requesters.add(requester);
    this.#requesters.forEach((one) => {
      for (let frame; (frame = one.next(true)); ) this.#post({ type: 'ask', frame: frame as RequestFrame });
    });
  }

  /** @internal As in RequestingClient. */
  post(frame: object): void {
    this.#post({ type: 'post', frame: frame as RequestFrame });
  }

  /** Stops, until `connect`. */
  #rest(): void {
    this.#retry.clear();
    this.#wantsConnection = false;
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    this.#leave();
  }

  /** Sends hello to the worker, and requests every channel from its position in this tab. */
  async #join(again = false): Promise<void> {
    const visit = ++this.#visit;
    this.#releaseLock?.();
    this.#releaseLock = undefined;
    const [lock, key] = await Promise.all([holdLock('tab'), findKey(this.#options)]);
    if (visit !== this.#visit) return lock?.release();
    this.#releaseLock = lock?.release;
    this.#queue.run(() => this.#greet(key, lock?.name, again));
  }

  #greet(key: string, lock: string | undefined, again: boolean): void {
    const settings = settingsOf(this.#options);
    if (this.#key !== undefined && this.#key !== key) this.#forgetUser();
    this.#key = key;
    this.#link ??= this.#connectWorker();
    this.#isJoined = true;
    this.#isWelcome = false;
    this.#taken = 0;
    const [version, visit, own, logs] = [VERSION, this.#visit, this.#own, this.#options.log !== undefined];
    this.#post({ type: 'hello', version, visit, key, settings, lock, own, again, logs });
    this.#link.watch();
    this.#asked.clear();
    this.#moved.clear();
    this.#channels.forEach((channel) => channel.isWanted && this.#ask(channel, !!channel.cursor));
    this.#post({ type: 'connect' });
  }

  /** Reconnects after a close, perhaps as another user. */
  async #comeAgain(): Promise<void> {
    const visit = this.#visit;
    const key = await findKey(this.#options);
    if (visit !== this.#visit) return;
    if (key === this.#key) return this.#post({ type: 'connect' });
    this.#leave();
    void this.#join();
  }

  /** The previous user's positions are not sent for the next user. */
  #forgetUser(): void {
    this.#own = {};
    this.#channels.forEach((channel) => channel.forget());
  }

  #leave(): void {
    this.#visit++;
    this.#post({ type: 'bye' });
    this.#isJoined = this.#isWelcome = false;
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
      onMessage: (message) => this.#queue.push(() => this.#onMessage(message)),
      onLost: () => this.#queue.run(() => this.#onLost()),
    });
  }

  #findWorker(): SharedWorker | Port {
    const { worker } = this.#options;
    try {
      if (typeof worker !== 'function' && this.#lost === 0) return worker;
      if (typeof worker === 'function' && this.#lost < MAX_LOST) return worker();
    } catch (error) {
      this.onError('worker', error);
    }
    const { port1, port2 } = new MessageChannel();
    this.#ownHub ??= new SharedHub();
    this.#ownHub.serve(port2);
    return port1;
  }

  /** Continues with another worker, the same for all tabs. It connects after they have joined. */
  #onLost(): void {
    if (Date.now() - this.#linkedAt > LASTING_MS) this.#lost = 0;
    this.#lost++;
    this.#link = undefined;
    this.#isJoined = this.#isWelcome = false;
    if (!this.#wantsConnection) return;
    logTo(this.#options, 'lost', { reason: LOST, lost: this.#lost });
    this.#onState({ state: 'waiting', attempts: this.#lost, reason: LOST, retryInMs: 0 });
    void this.#join(true);
  }

  /** The worker's messages may have another meaning, so this tab does not use it. */
  #onOtherVersion(version: string | undefined): void {
    this.onError('worker', new Error(`the worker is of version ${version}, this page of ${VERSION}`));
    this.#leave();
    this.#unlink();
    this.#lost = MAX_LOST;
    void this.#join();
  }

  #onWanted(channel: Channel, isMoved: boolean): void {
    if (isMoved) this.#moved.add(channel);
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#context.soon(() => this.#flush());
  }

  /** Batches the app's calls of one turn: calls that cancel each other out send nothing. */
  #flush(): void {
    this.#isFlushing = false;
    this.#channels.forEach((channel, name) => {
      const isLeft = !channel.isWanted || this.#moved.delete(channel);
      if (isLeft && this.#asked.delete(name)) this.#post({ type: 'unsubscribe', channel: name });
      if (!channel.isWanted) this.#channels.delete(name);
      else if (!this.#asked.has(name)) this.#ask(channel, false);
    });
  }

  #ask(channel: Channel, again: boolean): void {
    if (!this.#isJoined) return;
    const id = ++this.#requests;
    this.#asked.set(channel.name, id);
    channel.lastState = undefined;
    this.#post({ type: 'subscribe', channel: channel.name, since: channel.cursor || undefined, last: channel.last, id, again });
  }

  #onMessage(message: FromWorker): void {
    if (message.type === 'version') return this.#onOtherVersion(message.version);
    if (message.type === 'welcome') return this.#onWelcome(message);
    if (!this.#isWelcome) return;
    switch (message.type) {
      case 'state':
        this.#onUser(message.user);
        return this.#onState(message.event);
      case 'error':
        return this.onError(message.event.where, errorOf(message.event));
      case 'latency':
        this.latencyMs = message.latencyMs;
        return this.#queue.push(() => this.emit('latency', message.latencyMs));
      case 'log':
        return logTo(this.#options, message.what, message.detail);
      case 'token':
        return void this.#onToken(message.request, message.reason);
      case 'sent':
        return this.#requesters.forEach((requester) => requester.sent(message.id));
      case 'answer':
        return this.#requesters.forEach((requester) => requester.take(message.frame));
      case 'overflow':
        this.#isJoined = this.#isWelcome = false;
        return void this.#join();
      case 'channel':
        return this.#onChannel(message.event, message.id);
    }
  }

  #onWelcome(message: Extract<FromWorker, { type: 'welcome' }>): void {
    if (message.version !== VERSION) return this.#onOtherVersion(message.version);
    if (message.visit !== this.#visit || !this.#isJoined) return;
    this.#isWelcome = true;
    this.latencyMs = message.latencyMs;
    this.#onUser(message.user);
    this.#own = { ...message.own, ...this.#own };
    // The tab has already asked it to connect.
    if (message.state.state !== 'idle') this.#onState(message.state);
  }

  /** A worker that has not connected yet reports no user. */
  #onUser(user: string | undefined): void {
    if (user !== undefined && this.user !== undefined && user !== this.user) this.#own = {};
    this.user = user ?? this.user;
  }

  #onState(event: StateEvent): void {
    this.state = event.state;
    if (event.state === 'connected') this.#ends = 0;
    if (event.state === 'closed') this.#ends++;
    // Another tab may have connected again. `disconnect` keeps the failure that it has set.
    if (event.state !== 'idle') this.failure = event.state === 'closed' ? new GatewayError(event.state, event.reason) : undefined;
    if (event.state !== 'connected') this.#channels.forEach((channel) => (channel.lastState = undefined));
    this.emit('ready');
    this.#queue.push(() => this.emit('state', event));
  }

  /** The rule of the cursor, as in Channels: it moves after the event was delivered to the app. */
  #onChannel(event: ChannelEvent, id: number | undefined): void {
    if (++this.#taken % TAKEN_EVERY === 0) this.#post({ type: 'taken', count: TAKEN_EVERY });
    const isOwn = [`user:${this.user}`, 'all'].includes(event.channel);
    // The event is for a subscription that the app has ended.
    if (!isOwn && id !== undefined && id !== this.#asked.get(event.channel)) return;
    const visit = this.#visit;
    const channel = this.#channels.get(event.channel);
    // Own channels continue without a request. Those of another user, after another login, do not.
    if (!channel && event.type === 'refused') return;
    const position = 'position' in event && event.type !== 'recovered' ? event.position : undefined;
    const isBegin = event.type === 'subscribed';
    const isLost = isBegin && channel?.cursor === '';
    if (channel && isBegin) {
      channel.cursor ??= position;
      channel.isGiven = false;
    }
    if (channel) channel.give(event);
    else this.tell(event);
    if (visit !== this.#visit) return;
    if (isOwn && position && (!isBegin || !this.#own[event.channel])) this.#own[event.channel] = position;
    if (isLost) this.#onChannel({ ...event, type: 'gap', reason: 'not_recovered' }, id);
  }

  async #onToken(request: number, reason: TokenReason): Promise<void> {
    const answer: Extract<FromTab, { type: 'token' }> = { type: 'token', request, token: null };
    let isOther = false;
    try {
      answer.token = await tokenOf(this.#options, reason);
      isOther = !this.#options.key && !!answer.token && this.#key !== keyOf(this.#options, answer.token);
    } catch (error) {
      answer.failed = String(error);
    }
    // Another user has logged in here: the tabs of the previous user keep their socket.
    if (isOther) Object.assign(answer, { token: null, failed: 'another user is logged in' });
    this.#post(answer);
    if (!isOther || !this.#isJoined) return;
    this.#leave();
    void this.#join();
  }

  /** @internal */
  override onError(where: ErrorEvent['where'], error: unknown): void {
    this.#queue.push(() => {
      if (!this.emit('error', { where, error }) && where === 'listener') console.error(error);
    });
  }

  #post(message: FromTab): void {
    if (this.#isJoined) this.#link?.post(message);
  }
}
