/** The public client: connects, comes back, and keeps every channel where it was. */

import { Backoff } from './backoff.js';
import { Channels } from './channels.js';
import { Connection, type Ending } from './connection.js';
import { Emitter, Stream, type Off } from './emitter.js';
import { realEnvironment, Timer, type Environment } from './environment.js';
import type { ClientEvents, ClientOptions, ClientState, GatewayClientLike, StateEvent } from './options.js';
import { browserPresence } from './presence.js';
import { number, Op, OUR_FAULT, returnAfter, withVersion, type ServerFrame } from './protocol.js';
import { EventQueue } from './queue.js';
import type { ChannelEvent, Subscription } from './subscription.js';
import { askToken, Refresh, userOf, type TokenReason } from './token.js';

/** So often in a row a gateway may say that Identify is wrong. */
const MAX_FAULTS = 3;
/** After so many ends in a row without a connection that lasted, `connect` waits for the back-off. */
const MAX_ENDS = 5;
/** Being awake again begins an attempt no more often than this, in milliseconds. */
const WAKE_MS = 1_000;

type Detail = Omit<StateEvent, 'state' | 'attempts'>;

/**
 * Whatever happens is an act of one queue, and what listeners are told waits until the act is done. Each attempt to
 * connect is a generation: what belongs to an earlier one (a token, a frame, an event) has no effect.
 */
export class GatewayClient implements GatewayClientLike {
  readonly #options: ClientOptions;
  /** The user that the token named, once it was ready. */
  user: string | undefined;
  /** From a heartbeat to its answer, in milliseconds. */
  latencyMs: number | undefined;
  #current: ClientState = 'idle';
  readonly #url: string;
  readonly #environment: Environment;
  readonly #queue = new EventQueue();
  readonly #emitter: Emitter<ClientEvents>;
  readonly #streams = new Set<Stream<ChannelEvent>>();
  readonly #channels: Channels;
  readonly #backoff: Backoff;
  readonly #refresh: Refresh;
  readonly #retry: Timer;
  readonly #flushLater: Timer;
  readonly #tokenTimer: Timer;
  #generation = 0;
  #connection: Connection | undefined;
  #tokenReason: TokenReason = 'connect';
  /** The user of the latest token, as the token says it. */
  #tokenUser: string | undefined;
  #readyAt: number | undefined;
  #wokenAt = -Infinity;
  /** Ends in a row by a fault of ours, and ends of any kind without a connection that lasted. */
  #faults = 0;
  #ends = 0;
  /** The wait was asked for by the gateway: being awake again does not end it. */
  #isPatient = false;
  #isFlushing = false;
  #leavePresence: Off | undefined;

  constructor(options: ClientOptions) {
    const { token } = options;
    if (typeof token !== 'string' && typeof token !== 'function') throw new TypeError('token must be a text or a function');
    this.#options = options;
    this.#url = withVersion(options.url);
    const given: Environment = { ...realEnvironment(), ...options.environment };
    if (options.WebSocket) given.WebSocket = options.WebSocket;
    const setTimeout = (callback: () => void, delayMs: number) => given.setTimeout(() => this.#queue.run(callback), delayMs);
    const environment = (this.#environment = { ...given, setTimeout });
    const onThrown = (error: unknown) => this.#onError('listener', error);
    // What a listener for errors has thrown must not vanish, nor call it again.
    this.#emitter = new Emitter((error, type) => (type === 'error' ? console.error(error) : onThrown(error)));
    const newBackoff = () => new Backoff(options.backoff, environment.random);
    this.#backoff = newBackoff();
    this.#refresh = new Refresh(environment, () => this.#renew());
    this.#retry = new Timer(environment);
    this.#flushLater = new Timer(environment);
    this.#tokenTimer = new Timer(environment);
    this.#channels = new Channels({
      bufferSize: options.bufferSize ?? 10_000,
      onThrown,
      onEvent: (event) => this.#onChannelEvent(event),
      onDirty: () => this.#flushSoon(),
      push: (task) => this.#queue.push(this.#guarded(task)),
      soon: (task) => void Promise.resolve().then(() => this.#queue.push(task)),
      later: (task) => void environment.setTimeout(task, 0),
      now: environment.now,
      newBackoff,
    });
  }

  get state(): ClientState {
    return this.#current;
  }

  /** Connects, and comes back until `close` or a close code that forbids it. */
  connect(): void {
    this.#queue.run(() => {
      if ((this.#current !== 'idle' && this.#current !== 'closed') || this.#retry.isSet) return;
      this.#faults = 0;
      this.#leavePresence ??= (this.#options.presence ?? browserPresence)(
        (why) => this.wake(why),
        (why) => this.#queue.run(() => this.#rest(why)),
      );
      // A listener that connects whenever it is closed must not do so for ever in one turn.
      if (this.#ends >= MAX_ENDS) return this.#retry.set(this.#backoff.next('later'), () => this.#open());
      this.#backoff.attempts = 0;
      this.#open();
    });
  }

  /** Ends everything: the connection, the subscriptions and the iterations. */
  close(): void {
    this.#queue.run(() => {
      this.#channels.close();
      this.#streams.forEach((stream) => stream.finish());
      this.#stop({ reason: 'closed by the app' });
    });
  }

  /** Listens to a channel, now and after every reconnection. `since` continues where an earlier visit ended. */
  subscribe(channel: string, options?: { since?: string | null | undefined }): Subscription {
    return this.#channels.subscribe(channel, options);
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

  /** Asks for a new token and gives it to the gateway, without reconnecting: it may open further channels. */
  refresh(): void {
    this.#queue.run(() => {
      if (this.#connection?.isReady) this.#refresh.now();
      else if (this.#tokenReason === 'connect') this.#tokenReason = 'refresh';
    });
  }

  /** Something has changed outside: comes back at once if it waits, and otherwise sees whether it is still connected. */
  wake(why = 'app'): void {
    this.#queue.run(() => {
      this.#log('wake', { why });
      const isWaiting = this.#current === 'waiting' && !this.#isPatient;
      // The network is another one: what was begun on the old one may hang.
      if (isWaiting || (why === 'online' && this.#current === 'connecting')) return this.#openAwake();
      const connection = this.#connection;
      if (connection?.budget.wait(this.#environment.now()) === 0) connection.probe();
    });
  }

  #openAwake(): void {
    const sinceMs = this.#environment.now() - this.#wokenAt;
    if (sinceMs < 0 || sinceMs >= WAKE_MS) {
      this.#wokenAt = this.#environment.now();
      this.#open();
    } else if (this.#current === 'waiting') {
      this.#retry.set(WAKE_MS - sinceMs, () => this.#open());
    }
  }

  /** The page is put away, or the network is gone. */
  #rest(why: string): void {
    if (this.#current !== 'connecting' && this.#current !== 'connected') return;
    this.#leave(why);
    // A socket that is opened before the page is frozen would keep it out of the cache: not at once.
    this.#wait(why === 'pagehide' ? 'patiently' : 'yes', { reason: why });
    this.#isPatient = false;
  }

  #open(): void {
    this.#leave('another attempt');
    this.#setState('connecting', {});
    this.#ask(
      this.#tokenReason,
      (token) => (token ? this.#openSocket(token) : this.#stop({ reason: 'no token' })),
      () => this.#wait('yes', { reason: 'no token could be had' }),
    );
  }

  #openSocket(token: string): void {
    const [environment, channels, queue] = [this.#environment, this.#channels, this.#queue];
    const user = userOf(token);
    if (this.#tokenUser !== undefined && this.#tokenUser !== user) channels.forgetUser();
    this.#tokenUser = user;
    try {
      this.#connection = new Connection(this.#url, token, this.#patience, environment, (task) => queue.push(task), {
        identify: (maxBytes) => channels.identify(maxBytes),
        onReady: (frame) => this.#onReady(frame),
        onFrame: (frame) => channels.onFrame(frame),
        onSoftError: (code, detail) => this.#onSoftError(code, detail),
        onRefreshed: (expiresInMs) => {
          this.#refreshBefore(expiresInMs);
          channels.onRefreshed();
        },
        onLatency: (latencyMs) => this.#onLatency(latencyMs),
        onEnd: this.#guarded((ending: Ending) => this.#onEnd(ending)),
      });
    } catch (error) {
      // It would be the same with the next attempt.
      this.#onError('socket', error);
      this.#stop({ reason: 'no WebSocket can be opened' });
    }
  }

  #onReady(frame: Extract<ServerFrame, { op: 2 }>): void {
    this.#readyAt = this.#environment.now();
    this.#tokenReason = 'connect';
    this.#faults = 0;
    this.user = frame.user;
    this.#refreshBefore(number(frame.expires_in));
    this.#setState('connected', {});
    this.#channels.onReady(frame.user, frame.channels);
    this.#flushSoon();
  }

  #onEnd({ code, reason, error, afterMs }: Ending): void {
    const wasReady = this.#readyAt !== undefined;
    this.#leave(reason);
    if (error !== undefined) this.#onError('socket', error);
    this.#faults = !wasReady && OUR_FAULT.includes(code) ? this.#faults + 1 : 0;
    if (this.#faults >= MAX_FAULTS) {
      this.#onError('identify', new Error(`the gateway refuses what it is sent: ${code} ${reason}`));
      return this.#stop({ code, reason });
    }
    const kind = returnAfter(code);
    const mayAsk = typeof this.#options.token !== 'string';
    // A kept token may have expired while the device slept: a new one is asked for, once.
    const isRefused = code === 4003 && !wasReady && this.#tokenReason !== 'refused' && mayAsk;
    if (code === 4003) this.#tokenReason = 'refused';
    else if (kind === 'new token') this.#tokenReason = 'expired';
    else if (kind === 'never') this.#tokenReason = 'connect';
    if ((kind === 'never' && !isRefused) || (kind === 'new token' && !mayAsk)) return this.#stop({ code, reason });
    this.#wait(kind === 'patiently' || kind === 'spread' ? kind : 'yes', { code, reason }, afterMs);
  }

  #wait(kind: 'yes' | 'patiently' | 'spread', detail: Detail, afterMs?: number): void {
    const retryInMs = afterMs ?? this.#backoff.next(kind);
    this.#isPatient = afterMs !== undefined || kind !== 'yes';
    this.#retry.set(retryInMs, () => this.#open());
    this.#setState('waiting', { ...detail, retryInMs });
  }

  /** Ends the connection and does not come back. */
  #stop(detail: Detail): void {
    this.#retry.clear();
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    if (this.#current === 'closed') return;
    this.#leave(detail.reason!);
    this.#ends++;
    this.#setState('closed', detail);
  }

  /** Ends this generation: its connection, its timers, and what was asked for in it. */
  #leave(reason: string): void {
    this.#generation++;
    const connection = this.#connection;
    this.#connection = undefined;
    for (const timer of [this.#retry, this.#flushLater, this.#tokenTimer]) timer.clear();
    this.#refresh.stop();
    connection?.drop(reason, 1000);
    this.#channels.onDisconnected();
    if (this.#readyAt === undefined) return;
    if (this.#backoff.lasted(this.#environment.now() - this.#readyAt)) this.#ends = 0;
    this.#readyAt = undefined;
  }

  #guarded<Given extends unknown[]>(act: (...given: Given) => void): (...given: Given) => void {
    const generation = this.#generation;
    return (...given) => generation === this.#generation && act(...given);
  }

  #ask(reason: TokenReason, onToken: (token: string | null) => void, onFailed: () => void): void {
    const generation = this.#generation;
    const settle = this.#guarded((act: () => void) => this.#queue.run(act));
    const isOver = () => generation !== this.#generation;
    askToken(this.#options.token, reason, this.#patience.connectMs, this.#tokenTimer, isOver).then(
      (token) => settle(() => onToken(token)),
      (error) =>
        settle(() => {
          this.#onError('token', error);
          onFailed();
        }),
    );
  }

  #renew(): void {
    if (this.#tokenTimer.isSet) return;
    const onToken = (token: string | null) => {
      // Without one the session ends when its token does.
      if (!token) return;
      this.#channels.onRefresh();
      this.#connection?.send({ op: Op.Refresh, token });
    };
    this.#ask('refresh', onToken, () => this.#refresh.onFailed());
  }

  #refreshBefore(expiresInMs: number | undefined): void {
    if (typeof this.#options.token !== 'string') this.#refresh.onExpiry(expiresInMs);
  }

  #onSoftError(code: string, detail: string): void {
    this.#onError(code, new Error(detail));
    if (code === 'refresh_failed') this.#refresh.onFailed();
  }

  #onLatency(latencyMs: number): void {
    this.latencyMs = latencyMs;
    this.#queue.push(this.#guarded(() => this.#emitter.emit('latency', latencyMs)));
  }

  /** Once for all that the app does in one go: what cancels itself out is never sent. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    void Promise.resolve().then(() => {
      this.#isFlushing = false;
      this.#queue.run(() => this.#flush());
    });
  }

  #flush(): void {
    for (;;) {
      const connection = this.#connection;
      if (!connection?.isReady) return;
      let waitMs = connection.budget.wait(this.#environment.now());
      const command = waitMs > 0 ? undefined : this.#channels.nextCommand();
      if (command) {
        connection.send(command);
        continue;
      }
      waitMs ||= this.#channels.nextInMs;
      if (waitMs < Infinity) this.#flushLater.set(waitMs, () => this.#flush());
      return;
    }
  }

  /** Streams come first: a listener may close the client. */
  #onChannelEvent(event: ChannelEvent): void {
    this.#streams.forEach((stream) => stream.push(event));
    this.#emitter.emit(event.type, event as never);
    this.#emitter.emit('event', event);
    if (event.type !== 'message') this.#log(event.type, { channel: event.channel });
  }

  #setState(state: ClientState, detail: Detail): void {
    // An attempt that is begun anew is no news.
    if (state === this.#current) return;
    const event: StateEvent = { state, attempts: this.#backoff.attempts, ...detail };
    this.#current = state;
    this.#log(state, event);
    this.#queue.push(() => this.#emitter.emit('state', event));
  }

  #onError(where: string, error: unknown): void {
    this.#log('error', { where });
    this.#queue.push(() => {
      // What the app has thrown must not vanish.
      if (where === 'listener' && !this.#emitter.has('error')) console.error(error);
      this.#emitter.emit('error', { where, error });
    });
  }

  /** A log must not decide whether we come back. */
  #log(what: string, detail: object): void {
    const { log } = this.#options;
    if (!log) return;
    this.#queue.push(() => {
      try {
        log(what, detail);
      } catch {
        // It is only a log.
      }
    });
  }

  get #patience() {
    const { connectTimeoutMs = 15_000, heartbeatTimeoutMs = 10_000 } = this.#options;
    return { connectMs: connectTimeoutMs, heartbeatMs: heartbeatTimeoutMs };
  }
}
