/** The public client: connects, reconnects, and resumes every channel from its position. */

import { Backoff } from './backoff.js';
import type { AnyChannels, ChannelName, MessageOf } from './channel-map.js';
import { Channels as AllChannels } from './channels.js';
import { Connection, type Ending } from './connection.js';
import { ClientBase } from './client-base.js';
import type { Off } from './emitter.js';
import { GatewayError } from './errors.js';
import { realEnvironment, Timer, type Environment } from './environment.js';
import { MAX_ENDS, MAX_FAULTS, WAKE_MS } from './limits.js';
import type { ClientEvents, ClientOptions, ErrorEvent, GatewayClientLike } from './options.js';
import { CLIENT_ERRORS, Op, RECONNECT_RULES, ReconnectRule, withVersion } from './protocol.js';
import type { Requester } from './protocol.js';
import { EventQueue } from './queue.js';
import type { ClientState, StateDetail, StateEvent } from './state.js';
import type { SubscribeOptions, Subscription } from './subscription.js';
import { askToken, checked, Refresh, tokenFrom, userOf, type TokenReason } from './token.js';
import { browserPresence } from './visibility.js';

/**
 * A client of the gateway. It connects, reconnects after a loss, and resumes every channel from its
 * position.
 *
 * It runs one task at a time from a queue, and delivers events after the task that caused them.
 * Each connection attempt is a generation: tokens, frames and events of an earlier one have no
 * effect.
 */
export class GatewayClient<Channels extends object = AnyChannels>
  extends ClientBase<Channels>
  implements GatewayClientLike
{
  readonly #options: ClientOptions;
  readonly #connectMs: number;
  /** Whether the client can ask for a new token. */
  readonly #mayAsk: boolean;
  readonly #url: string;
  readonly #environment: Environment;
  readonly #queue = new EventQueue();
  readonly #channels: AllChannels;
  readonly #backoff: Backoff;
  readonly #refresh: Refresh;
  readonly #retry: Timer;
  readonly #flushLater: Timer;
  #tokenTimer: Timer | undefined;
  #generation = 0;
  #connection: Connection | undefined;
  #tokenReason: TokenReason = 'connect';
  /** The user of the latest token. */
  #tokenUser: string | undefined;
  #readyAt: number | undefined;
  #wokenAt = -Infinity;
  /** Closes in a row caused by errors of the client, and closes of any kind without a lasting connection. */
  #faults = 0;
  #ends = 0;
  /** The gateway requested the wait, so a wake-up does not end it. */
  #mustWait = false;
  #isFlushing = false;
  #leavePresence: Off | undefined;

  /** @throws TypeError if the URL or the token is invalid. */
  constructor(options: ClientOptions) {
    super(options.bufferSize);
    const { token } = options;
    this.#mayAsk = typeof token === 'function';
    if (!this.#mayAsk) checked(token);
    this.#options = options;
    this.#connectMs = options.connectTimeoutMs ?? 15_000;
    this.#url = withVersion(options.url);
    const given: Environment = { ...realEnvironment(), ...options.environment };
    if (options.WebSocket) given.WebSocket = options.WebSocket;
    const setTimeout = (callback: () => void, delayMs: number) => given.setTimeout(() => this.#queue.run(callback), delayMs);
    const environment = (this.#environment = { ...given, setTimeout });
    const newBackoff = () => new Backoff(options.backoff, environment.random);
    this.#backoff = newBackoff();
    this.#refresh = new Refresh(environment, () => {
      // Without a new token the session ends when its token expires.
      const onToken = (token: string | null) => token && this.#connection?.send({ op: Op.Refresh, token });
      if (!this.#tokenTimer?.isSet) this.#ask('refresh', onToken, () => this.#refresh.onFailed());
    });
    this.#retry = new Timer(environment);
    this.#flushLater = new Timer(environment);
    this.#channels = new AllChannels({
      bufferSize: options.bufferSize,
      onThrown: (error) => this.onThrown(error),
      onEvent: (event) => {
        this.tell(event);
        if (event.type !== 'message') this.#log(event.type, { channel: event.channel });
      },
      onDirty: () => this.#flushSoon(),
      push: (task) => this.#queue.push(this.#guarded(task)),
      soon: (task) => this.#soon(task),
      later: (task) => void environment.setTimeout(task, 0),
      retry: new Timer(environment),
      backoff: newBackoff(),
    });
  }

  /** Connects, and reconnects until `disconnect`, `close` or a close code that forbids it. Returns `ready()`. */
  connect(): Promise<void> {
    this.#queue.run(() => {
      if ((this.state !== 'idle' && this.state !== 'closed') || this.#retry.isSet) return;
      this.#faults = 0;
      this.failure = undefined;
      this.#leavePresence ??= (this.#options.presence ?? browserPresence)(
        (why) => this.wake(why),
        (why) => this.#queue.run(() => this.#rest(why)),
      );
      // A listener that reconnects on every close must not loop within one turn.
      if (this.#ends >= MAX_ENDS) return this.#openIn(this.#backoff.next());
      this.#backoff.tries = 0;
      this.#open();
    });
    return this.ready();
  }

  /** Ends the connection. Subscriptions keep their positions, and `connect` resumes them. */
  disconnect(): void {
    this.#queue.run(() => this.#stop({ reason: 'disconnected' }, 'idle'));
  }

  override close(): void {
    this.#queue.run(() => {
      this.#channels.close();
      this.finish();
      this.#stop({ reason: 'closed by the app' });
    });
  }

  /**
   * Subscribes to a channel, now and after every reconnect. `since` resumes after a position; `last`
   * begins with stored messages.
   */
  subscribe<Name extends ChannelName<Channels>, Message = MessageOf<Channels, Name>>(
    channel: Name,
    options?: SubscribeOptions<Message>,
  ): Subscription<Message, Name> {
    return this.#channels.subscribe(channel, options) as Subscription<Message, any>;
  }

  /** Gets a new token, sends it without reconnecting, and retries refused channels. */
  refresh(): void {
    this.#queue.run(() => {
      if (this.#connection?.isReady) this.#refresh.now();
      else if (this.#tokenReason === 'connect') this.#tokenReason = 'refresh';
    });
  }

  /** Call when the environment has changed: reconnects at once, or checks the connection. */
  wake(why = 'app'): void {
    this.#queue.run(() => {
      this.#log('wake', { why });
      const isWaiting = this.state === 'waiting' && !this.#mustWait;
      // The network has changed: an attempt over the previous one may hang.
      if (isWaiting || (why === 'online' && this.state === 'connecting')) {
        const sinceMs = Math.abs(this.#now - this.#wokenAt);
        if (sinceMs < WAKE_MS) return isWaiting ? this.#openIn(WAKE_MS - sinceMs) : undefined;
        this.#wokenAt = this.#now;
        return this.#open();
      }
      const connection = this.#connection;
      if (connection?.budget?.wait(this.#now) === 0) connection.probe();
    });
  }

  /** @internal As in RequestingClient. */
  ask(requester?: Requester): void {
    if (requester) this.#channels.requesters.add(requester);
    this.#flushSoon();
  }

  /** @internal As in RequestingClient. */
  post(frame: object): void {
    if (this.#connection?.isReady) this.#connection.send(frame, false);
  }

  /** Closes the connection on `pagehide`, or when the network is lost. */
  #rest(why: string): void {
    if (this.state !== 'connecting' && this.state !== 'connected') return;
    this.#leave();
    // Do not reconnect at once: an open socket keeps the page out of the back/forward cache.
    this.#wait(why === 'offline' ? ReconnectRule.Yes : ReconnectRule.LongWait, { reason: why });
    this.#mustWait = false;
  }

  #openIn(delayMs: number): void {
    this.#retry.set(delayMs, () => this.#open());
  }

  #open(): void {
    this.#leave();
    this.#setState('connecting');
    this.#ask(
      this.#tokenReason,
      (token) => (token ? this.#openSocket(token) : this.#stop({ reason: 'no token' })),
      () => this.#wait(ReconnectRule.Yes, { reason: 'no token' }),
    );
  }

  #openSocket(token: string): void {
    const channels = this.#channels;
    const user = userOf(token);
    if ((this.#tokenUser ?? user) !== user) channels.forgetUser();
    this.#tokenUser = user;
    try {
      this.#connection = new Connection({
        url: this.#url,
        token,
        environment: this.#environment,
        connectMs: this.#connectMs,
        heartbeatMs: this.#options.heartbeatTimeoutMs ?? 10_000,
        queue: this.#queue,
        channels,
        onReady: ({ user, channels: states }) => {
          this.#readyAt = this.#now;
          this.#tokenReason = 'connect';
          this.#faults = 0;
          this.user = user;
          this.#setState('connected');
          channels.onReady(user, states);
        },
        onSoftError: (code, detail) => {
          this.onError(code, new GatewayError(code, detail));
          if (['unavailable', 'refresh_failed'].includes(code)) this.#refresh.onFailed();
        },
        onToken: (expiresInMs) => {
          if (this.#mayAsk) this.#refresh.onExpiry(expiresInMs);
          channels.askAgain();
        },
        onLatency: (latencyMs) => this.#emit('latency', (this.latencyMs = latencyMs)),
        onEnd: this.#guarded<Ending, void>((...ending) => this.#onEnd(...ending)),
      });
    } catch (error) {
      // The next attempt would fail in the same way.
      this.onError('socket', error);
      this.#stop({ reason: 'no WebSocket' });
    }
  }

  #onEnd(...[code, reason, error, afterMs]: Ending): void {
    const wasReady = this.#readyAt !== undefined;
    const asked = this.#tokenReason;
    let kind = RECONNECT_RULES[code] ?? ReconnectRule.Yes;
    this.#leave();
    if (error) this.onError('socket', error);
    this.#faults = !wasReady && CLIENT_ERRORS.includes(code) ? this.#faults + 1 : 0;
    if (this.#faults >= MAX_FAULTS) {
      this.onError('identify', new GatewayError('identify', `${code} ${reason}`));
      kind = ReconnectRule.Never;
    }
    if (code === 4003) this.#tokenReason = 'refused';
    if (code === 4009) this.#tokenReason = 'expired';
    // A stored token may have expired while the device slept: ask for a new one, once.
    if (code === 4003 && !wasReady && asked !== 'refused') kind = ReconnectRule.NewToken;
    if (kind < (this.#mayAsk ? ReconnectRule.NewToken : ReconnectRule.Yes)) return this.#stop({ code, reason });
    this.#wait(kind, { code, reason }, afterMs);
  }

  #wait(kind: ReconnectRule, detail: StateDetail, afterMs?: number): void {
    const retryInMs = afterMs ?? this.#backoff.next(kind);
    this.#mustWait = afterMs !== undefined || kind >= ReconnectRule.LongWait;
    this.#openIn(retryInMs);
    this.#setState('waiting', { ...detail, retryInMs });
  }

  /** Ends the connection and does not reconnect. */
  #stop(detail: StateDetail, state: 'closed' | 'idle' = 'closed'): void {
    this.#retry.clear();
    this.#leavePresence?.();
    this.#leavePresence = undefined;
    this.failure = new GatewayError(state === 'idle' ? detail.reason : state, detail.reason);
    this.emit('ready');
    if (this.state === state || this.state === 'closed') return;
    this.#leave();
    this.#ends++;
    this.#setState(state, detail);
  }

  /** Ends this generation: its connection, its timers and its requests. */
  #leave(): void {
    this.#generation++;
    const connection = this.#connection;
    this.#connection = undefined;
    for (const timer of [this.#retry, this.#flushLater, this.#tokenTimer, this.#refresh]) timer?.clear();
    connection?.drop('', 1000);
    this.#channels.onDisconnected();
    if (this.#readyAt === undefined) return;
    if (this.#backoff.lasted(this.#now - this.#readyAt)) this.#ends = 0;
    this.#readyAt = undefined;
  }

  get #now(): number {
    return this.#environment.now();
  }

  #soon(task: () => void): void {
    void Promise.resolve().then(() => this.#queue.push(task));
  }

  #guarded<Given extends unknown[], Result>(act: (...given: Given) => Result): (...given: Given) => Result | false {
    const generation = this.#generation;
    return (...given) => generation === this.#generation && act(...given);
  }

  #ask(reason: TokenReason, onToken: (token: string | null) => void, onFailed: () => void): void {
    const settle = this.#guarded((act: () => void) => this.#queue.run(act));
    const { token } = this.#options;
    this.#tokenTimer = new Timer(this.#environment);
    askToken(this.#guarded(() => tokenFrom(token, reason)), this.#connectMs, this.#tokenTimer).then(
      (token) => settle(() => onToken(token)),
      (error) =>
        settle(() => {
          this.onError('token', error);
          onFailed();
        }),
    );
  }

  /** Batches the app's calls of one turn: calls that cancel each other out send nothing. */
  #flushSoon(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#soon(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (;;) {
      const connection = this.#connection;
      if (!connection?.isReady) return;
      const waitMs = connection.budget!.wait(this.#now);
      if (waitMs > 0) {
        this.#channels.onDelayed(waitMs);
        return this.#flushLater.set(waitMs, () => this.#flush());
      }
      const command = this.#channels.nextCommand(connection.maxBytes);
      if (!command) return;
      connection.send(command);
    }
  }

  #setState(state: ClientState, detail?: StateDetail): void {
    // A restarted attempt causes no event.
    if (state === this.state) return;
    const event = { state, attempts: this.#backoff.tries, ...detail } as StateEvent;
    this.state = state;
    this.emit('ready');
    this.#log(state, event);
    this.#emit('state', event);
  }

  /** @internal */
  override onError(where: ErrorEvent['where'], error: unknown): void {
    this.#log('error', { where });
    this.#queue.push(() => {
      // An error thrown by the app must be visible.
      if (!this.emit('error', { where, error }) && where === 'listener') console.error(error);
    });
  }

  #log(what: string, detail: object): void {
    this.#queue.push(() => {
      try {
        this.#options.log?.(what, detail);
      } catch {
        // A failing log must not prevent a reconnect.
      }
    });
  }

  /** Notifies listeners after the current task. */
  #emit<Type extends keyof ClientEvents>(type: Type, event: ClientEvents[Type]): void {
    this.#queue.push(() => this.emit(type, event));
  }
}
