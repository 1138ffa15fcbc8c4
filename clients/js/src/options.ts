/** What an app gives to a client, and what it gets from it. */

import type { BackoffOptions } from './backoff.js';
import type { Off } from './emitter.js';
import type { Environment, SocketConstructor } from './environment.js';
import type { Presence } from './presence.js';
import type { ChannelEvent, ChannelEvents, Subscription } from './subscription.js';
import type { Token } from './token.js';

/** How a client is made. Only the first two are needed. */
export interface ClientOptions {
  /** `ws://` or `wss://`, for example `wss://gateway.example.com/`. `v=2` is added to its query. */
  url: string;
  /** The login token, or better a function that gets one: it is called before each connection, and for a refresh. */
  token: Token;
  /** Where there is none (Node 20), the constructor of the package `ws`. */
  WebSocket?: SocketConstructor;
  backoff?: BackoffOptions;
  /** From the attempt to being ready, and for the token function. Milliseconds, 15000. */
  connectTimeoutMs?: number;
  /** For the answer to a heartbeat; then the connection counts as dead. Milliseconds, 10000. */
  heartbeatTimeoutMs?: number;
  /** How many events may wait for each `for await`. 10000. */
  bufferSize?: number;
  /** Says when to check the connection at once (in React Native: the app is in the foreground), and when to close it. */
  presence?: Presence;
  /** Is told what the client does. Never a token, never a message. */
  log?: (what: string, detail: object) => void;
  /** @internal For tests: another clock, coin or socket. */
  environment?: Partial<Environment>;
}

/** Not asked to connect yet; on the way; ready; waiting to try again; ended for good, until `connect` is called again. */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed';

export interface StateEvent {
  state: ClientState;
  /** Attempts since the last connection that lasted. */
  attempts: number;
  /** With `waiting` and `closed`, after a connection: the close code. 1006 is a socket that ended without one. */
  code?: number;
  reason?: string;
  /** With `waiting`: when the next attempt is made, in milliseconds. */
  retryInMs?: number;
}

/**
 * An error: `where` is `token`, `listener`, `socket` (a connection failed, with the WebSocket's reason if it gives
 * one), `identify` (the gateway refuses the client's frames, and the client is closed), `worker`, or the code of a soft
 * error (op 9).
 */
export interface ErrorEvent {
  where: string;
  error: unknown;
}

/** What a client tells: its own events, and those of all its channels. */
export type ClientEvents = ChannelEvents & { state: StateEvent; error: ErrorEvent; latency: number };

/** What GatewayClient and SharedClient have in common. */
export interface GatewayClientLike extends AsyncIterable<ChannelEvent> {
  readonly state: ClientState;
  readonly user: string | undefined;
  readonly latencyMs: number | undefined;
  connect(): void;
  close(): void;
  wake(why?: string): void;
  refresh(): void;
  subscribe(channel: string, options?: { since?: string | null | undefined }): Subscription;
  on<Type extends keyof ClientEvents>(type: Type, listener: (event: ClientEvents[Type]) => void): Off;
}
