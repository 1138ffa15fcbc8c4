/// <reference lib="esnext.disposable" preserve="true" />
/** The options of a client, its events, and the interface that all clients have. */

import type { BackoffOptions } from './backoff.js';
import type { AnyChannels, ChannelName, MessageOf } from './channel-map.js';
import type { Off } from './emitter.js';
import type { Environment, SocketConstructor } from './environment.js';
import type { AnyChannelEvent, ChannelEvent } from './events.js';
import type { Requester } from './protocol.js';
import type { ClientState, StateEvent } from './state.js';
import type { SubscribeOptions, Subscription } from './subscription.js';
import type { Token } from './token.js';
import type { Presence } from './visibility.js';

export type { ClientState, StateEvent } from './state.js';

/** The options of a client. Only `url` and `token` are required. */
export interface ClientOptions {
  /** A URL with `ws:` or `wss:`, such as `wss://gateway.example.com/`. The client adds `v=2`. */
  url: string;
  /**
   * The login token, or better a function that returns one. The client calls the function before
   * each connection and for a refresh.
   */
  token: Token;
  /** The constructor, if there is no global one (Node 20): that of the package `ws`. */
  WebSocket?: SocketConstructor;
  /** The back-off between connection attempts. */
  backoff?: BackoffOptions;
  /**
   * The timeout from the start of an attempt to Ready, and of the token function. Milliseconds,
   * default 15000.
   */
  connectTimeoutMs?: number;
  /**
   * The timeout for the answer to a heartbeat. After it, the connection is dropped. Milliseconds,
   * default 10000.
   */
  heartbeatTimeoutMs?: number;
  /** The number of events that each `for await` may buffer. Default 10000. */
  bufferSize?: number;
  /**
   * Reports when to check the connection at once (in React Native: when the app comes to the
   * foreground), and when to close it. The entry point `presence` is about users instead.
   */
  presence?: Presence;
  /** A debug log. It never receives a token or a message. */
  log?: (what: string, detail: object) => void;
  /** @internal For tests: another clock, other random numbers or another socket. */
  environment?: Partial<Environment>;
}

/**
 * An error. `where` is one of:
 *
 * - `token`: the token function threw an error, timed out, or returned no string.
 * - `socket`: a connection failed. `error` is the WebSocket's reason if it reports one.
 * - `identify`: the gateway refuses the client's frames, and the client is closed.
 * - `listener`: a listener threw an error, or a parser, whose subscription gets the event `invalid`.
 * - `worker`: a SharedWorker could not be used.
 * - the code of a soft error of the gateway (op 9).
 */
export interface ErrorEvent {
  where: 'token' | 'socket' | 'identify' | 'listener' | 'worker' | SoftErrorCode;
  error: unknown;
}

/** The code of an error of the gateway that leaves the socket open (op 9). */
export type SoftErrorCode =
  | 'already_subscribed'
  | 'own_channel'
  | 'refresh_failed'
  | 'not_allowed'
  | 'unavailable'
  | 'too_big'
  | 'rate_limited'
  | 'busy'
  | (string & {});

/** The events of a client: its own, and those of all its channels. */
export type ClientEvents<Channels extends object = AnyChannels> = {
  [Type in ChannelEvent['type']]: Extract<AnyChannelEvent<Channels>, { type: Type }>;
} & { event: AnyChannelEvent<Channels>; state: StateEvent; error: ErrorEvent; latency: number };

/** The type of `subscribe`. Without types of channels, every client has it. */
export type Subscribe<Channels extends object> = string extends keyof Channels
  ? <Message = any>(channel: any, options?: SubscribeOptions<Message>) => Subscription<Message>
  : <Name extends ChannelName<Channels>, Message = MessageOf<Channels, Name>>(
      channel: Name,
      options?: SubscribeOptions<Message>,
    ) => Subscription<Message, Name>;

/**
 * The members that GatewayClient and SharedClient have in common. Iterating over a client yields
 * the events of all channels from then on, in order, including the session's own channels.
 *
 * `Channels` has the types of messages by the channel's name, in which `*` stands for any text:
 * `{ 'room:*': Chat; 'user:*': Note }`.
 */
export interface GatewayClientLike<Channels extends object = AnyChannels> extends AsyncIterable<AnyChannelEvent<Channels>> {
  /** The current state. The event `state` reports each change. */
  readonly state: ClientState;
  /** The user of the session; `undefined` before the first Ready. */
  readonly user: string | undefined;
  /** The time from the latest heartbeat to its answer, in milliseconds. */
  readonly latencyMs: number | undefined;
  /**
   * Connects, and reconnects until `disconnect`, `close` or a close code that forbids it. Returns
   * `ready()`.
   */
  connect(): Promise<void>;
  /**
   * Resolves when the client is connected: at once, if it is. Rejects with a GatewayError whose code is
   * `disconnected` or `closed`. A rejection need not be handled: the event `state` reports it too.
   */
  ready(): Promise<void>;
  /** Ends the connection. Subscriptions keep their positions, and `connect` resumes them. */
  disconnect(): void;
  /** Ends the connection, the subscriptions and the iterations. `connect` starts again without them. */
  close(): void;
  /** Call when the environment has changed: reconnects at once, or checks the connection. */
  wake(why?: string): void;
  /** Gets a new token and sends it to the gateway, without reconnecting. */
  refresh(): void;
  /**
   * Subscribes to a channel, now and after every reconnect. To resume after a restart of the app,
   * pass the position of the last handled message as `since`. To begin with stored messages, pass
   * their number as `last`. To check messages, pass a function as `parse`.
   */
  subscribe: Subscribe<Channels>;
  /** Adds a listener for a type of event. The returned function removes it. */
  on<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents<Channels>[Type]) => void): Off;
  /** Adds a listener for the next event of a type. The returned function removes it. */
  once<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents<Channels>[Type]) => void): Off;
  /** Removes a listener of a type, as often as it was added. */
  off<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents<Channels>[Type]) => void): void;
  /** As `close`, for `using`. */
  [Symbol.dispose](): void;
  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** The part of both clients that the entry points `presence` and `messages` use. */
export interface RequestingClient extends GatewayClientLike {
  /** There may be a request to send. A requester that is passed is asked from then on. */
  ask(requester?: Requester): void;
  /** Sends a frame that does not count as a message, if the client is connected. */
  post(frame: object): void;
}
