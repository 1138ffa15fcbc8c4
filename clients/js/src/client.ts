/** The public client: connects, comes back, and keeps every channel where it was. */

import { Backoff } from './backoff.js';
import { Channels } from './channels.js';
import { Connection, type Ending } from './connection.js';
import { Emitter, Stream, type Off } from './emitter.js';
import { realEnvironment, Timer, type Environment } from './environment.js';
import type { ClientEvents, ClientOptions, ClientState, GatewayClientLike, StateEvent } from './options.js';
import { browserPresence } from './presence.js';
import { Op, returnAfter, withVersion, type ServerFrame } from './protocol.js';
import type { ChannelEvent, Subscription } from './subscription.js';
import { askToken, Refresh, type TokenReason } from './token.js';

export class GatewayClient implements GatewayClientLike {
  readonly #options: ClientOptions;
  /** The user that the token named, once it was ready. */
  user: string | undefined;
  /** From a heartbeat to its answer, in milliseconds. */
  latencyMs: number | undefined;
  #current: ClientState = 'idle';
  readonly #url: string;
  readonly #environment: Environment;
  readonly #emitter: Emitter<ClientEvents>;
  readonly #streams = new Set<Stream<ChannelEvent>>();
  readonly #channels: Channels;
  readonly #backoff: Backoff;
  readonly #refresh: Refresh;
  readonly #retry: Timer;
  readonly #flushLater: Timer;
  #connection: Connection | undefined;
  #tokenReason: TokenReason = 'connect';
  /** Counts attempts to connect: the answer to an earlier one is of no interest. */
  #attempt = 0;
  #readyAt: number | undefined;
  /** The wait was asked for by the gateway: being awake again does not end it. */
  #isPatient = false;
  #isFlushing = false;
  #isFailing = false;
  #leavePresence: Off | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#url = withVersion(options.url);
    const environment: Environment = { ...realEnvironment(), ...options.environment };
    if (options.WebSocket) environment.WebSocket = options.WebSocket;
    this.#environment = environment;
    const onThrown = (error: unknown) => this.#onError('listener', error);
    this.#emitter = new Emitter<ClientEvents>(onThrown);
    this.#backoff = new Backoff(options.backoff, environment.random);
    this.#refresh = new Refresh(environment, () => void this.#renew());
    this.#retry = new Timer(environment);
    this.#flushLater = new Timer(environment);
    const onEvent = (event: ChannelEvent) => this.#onChannelEvent(event);
    const bufferSize = options.bufferSize ?? 10_000;
    this.#channels = new Channels({ bufferSize, onThrown, onEvent, onDirty: () => this.#flushSoon() });
  }

  get state(): ClientState {
    return this.#current;
  }

  /** Connects, and comes back until `close` or a close code that forbids it. */
  connect(): void {
    if (this.#current !== 'idle' && this.#current !== 'closed') return;
    this.#backoff.attempts = 0;
    this.#leavePresence ??= (this.#options.presence ?? browserPresence)((why) => this.wake(why));
    void this.#open();
  }

  /** Ends everything: the connection, the subscriptions and the iterations. */
  close(): void {
    this.#stop('closed', { reason: 'closed by the app' });
    this.#channels.close();
    this.#streams.forEach((stream) => stream.finish());
  }

  /** Listens to a channel, now and after every reconnection. `since` continues where an earlier visit ended. */
  subscribe(channel: string, { since }: { since?: string } = {}): Subscription {
    return this.#channels.subscribe(channel, since);
  }

  on<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents[Type]) => void): Off {
    return this.#emitter.on(type, listener);
  }

  /** The events of all channels from now on, the session's own among them, in order. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent> {
    const limit = this.#options.bufferSize ?? 10_000;
    const stream: Stream<ChannelEvent> = new Stream(limit, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /** Whether the session is on this channel by itself: its user's, and `all`. */
  isOwn(channel: string): boolean {
    return this.#channels.isOwn(channel);
  }

  /** Something has changed outside: comes back at once if it waits, and otherwise sees whether it is still connected. */
  wake(why = 'app'): void {
    this.#log('wake', { why });
    if (this.#current === 'waiting' && !this.#isPatient) void this.#open();
    else this.#connection?.probe();
  }

  async #open(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#retry.clear();
    this.#channels.onDisconnected();
    this.#setState('connecting', {});
    const reason = this.#tokenReason;
    let token: string | null;
    try {
      token = await askToken(this.#options.token, reason, this.#patience.connectMs, this.#environment);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#onError('token', error);
      return this.#wait('yes', { reason: 'no token could be had' });
    }
    if (attempt !== this.#attempt) return;
    if (!token) return this.#stop('closed', { reason: 'no token' });
    this.#openSocket(token);
  }

  #openSocket(token: string): void {
    const [environment, channels] = [this.#environment, this.#channels];
    try {
      this.#connection = new Connection(this.#url, token, this.#patience, environment, {
        identify: (maxBytes) => channels.identify(maxBytes),
        onReady: (frame) => this.#onReady(frame),
        onFrame: (frame) => channels.onFrame(frame),
        onSoftError: (code, detail) => this.#onSoftError(code, detail),
        onRefreshed: (expiresInMs) => this.#refreshBefore(expiresInMs),
        onLatency: (latencyMs) => this.#emitter.emit('latency', (this.latencyMs = latencyMs)),
        onEnd: (ending) => this.#onEnd(ending),
      });
    } catch (error) {
      // It would be the same with the next attempt.
      this.#onError('socket', error);
      this.#stop('closed', { reason: 'no WebSocket can be opened' });
    }
  }

  #onReady(frame: Extract<ServerFrame, { op: 2 }>): void {
    this.#readyAt = this.#environment.now();
    this.#tokenReason = 'connect';
    this.user = frame.user;
    this.#refreshBefore(frame.expires_in);
    this.#setState('connected', {});
    // A listener may have ended it.
    if (!this.#connection) return;
    this.#channels.onReady(frame.user, frame.channels);
    this.#flushSoon();
  }

  #onEnd({ code, reason, afterMs }: Ending): void {
    // Ended by us: there is nothing to come back to.
    if (!this.#connection) return;
    this.#release();
    if (this.#readyAt !== undefined) this.#backoff.lasted(this.#environment.now() - this.#readyAt);
    this.#readyAt = undefined;
    const kind = returnAfter(code);
    if (kind === 'never' || (kind === 'new token' && typeof this.#options.token === 'string')) {
      this.#tokenReason = code === 4003 ? 'refused' : 'connect';
      return this.#stop('closed', { code, reason });
    }
    if (kind === 'new token') this.#tokenReason = 'expired';
    this.#wait(kind === 'new token' ? 'yes' : kind, { code, reason }, afterMs);
  }

  #wait(kind: 'yes' | 'patiently' | 'spread', detail: { code?: number; reason: string }, afterMs?: number): void {
    const retryInMs = afterMs ?? this.#backoff.next(kind);
    this.#isPatient = afterMs !== undefined || kind !== 'yes';
    this.#retry.set(retryInMs, () => void this.#open());
    this.#setState('waiting', { ...detail, retryInMs });
  }

  /** Ends the connection and does not come back. */
  #stop(state: 'closed', detail: { code?: number; reason: string }): void {
    if (this.#current === state) return;
    this.#attempt++;
    const connection = this.#connection;
    this.#release();
    this.#retry.clear();
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    connection?.drop(detail.reason, 1000);
    this.#setState(state, detail);
  }

  /** Lets go of a connection that is over, or is about to be. */
  #release(): void {
    this.#connection = undefined;
    this.#refresh.stop();
    this.#flushLater.clear();
    this.#channels.onDisconnected();
  }

  async #renew(): Promise<void> {
    const [attempt, connection] = [this.#attempt, this.#connection];
    try {
      const token = await askToken(this.#options.token, 'refresh', this.#patience.connectMs, this.#environment);
      if (attempt !== this.#attempt || connection !== this.#connection) return;
      // Without one the session ends when its token does.
      if (token) connection?.send({ op: Op.Refresh, token });
    } catch (error) {
      if (attempt !== this.#attempt || connection !== this.#connection) return;
      this.#onError('token', error);
      this.#refresh.onFailed();
    }
  }

  #refreshBefore(expiresInMs: number | undefined): void {
    if (typeof this.#options.token !== 'string') this.#refresh.onExpiry(expiresInMs);
  }

  #onSoftError(code: string, detail: string): void {
    this.#onError(code, new Error(detail));
    if (code === 'refresh_failed') this.#refresh.onFailed();
  }

  /** Once for all that the app does in one go: what cancels itself out is never sent. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    void Promise.resolve().then(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (;;) {
      const connection = this.#connection;
      if (!connection?.isReady) return;
      const waitMs = connection.budget.wait(this.#environment.now());
      if (waitMs > 0) return this.#flushLater.set(waitMs, () => this.#flush());
      const command = this.#channels.nextCommand();
      if (!command) return;
      connection.send(command);
    }
  }

  #onChannelEvent(event: ChannelEvent): void {
    this.#emitter.emit(event.type, event as never);
    this.#emitter.emit('event', event);
    this.#streams.forEach((stream) => stream.push(event));
    if (event.type !== 'message') this.#log(event.type, { channel: event.channel });
  }

  #setState(state: ClientState, detail: Omit<StateEvent, 'state' | 'attempts'>): void {
    const event: StateEvent = { state, attempts: this.#backoff.attempts, ...detail };
    this.#current = state;
    this.#log(state, event);
    this.#emitter.emit('state', event);
  }

  #onError(where: string, error: unknown): void {
    this.#log('error', { where });
    // What the app threw must not vanish, nor a listener for errors be called for its own.
    if (where === 'listener' && (this.#isFailing || !this.#emitter.has('error'))) return console.error(error);
    this.#isFailing = true;
    this.#emitter.emit('error', { where, error });
    this.#isFailing = false;
  }

  #log(what: string, detail: object): void {
    try {
      this.#options.log?.(what, detail);
    } catch {
      // A log must not decide whether we come back.
    }
  }

  get #patience() {
    const { connectTimeoutMs = 15_000, heartbeatTimeoutMs = 10_000 } = this.#options;
    return { connectMs: connectTimeoutMs, heartbeatMs: heartbeatTimeoutMs };
  }
}
