/** The messages between tabs and the worker that they share. */

import type { BackoffOptions } from './backoff.js';
import { GatewayError } from './errors.js';
import type { ErrorEvent, StateEvent } from './options.js';
import type { ServerFrame } from './protocol.js';
import type { ChannelEvent } from './subscription.js';
import type { TokenReason } from './token.js';

/** The release of this library. A tab does not use a worker of another release. */
export const VERSION = '0.1.0';

/** The options that can be sent to a worker: all but the functions. */
export interface SharedSettings {
  /** As for GatewayClient. */
  url: string;
  /** As for GatewayClient. */
  backoff?: BackoffOptions;
  /** As for GatewayClient. */
  connectTimeoutMs?: number;
  /** As for GatewayClient. */
  heartbeatTimeoutMs?: number;
}

/** The part of a MessagePort that the library uses. */
export interface Port {
  postMessage(message: unknown): void;
  onmessage: ((event: any) => void) | null;
  close?(): void;
}

/** Positions by channel. */
export type Positions = Record<string, string>;

/** A request with an id, which the tab has chosen. The ids of different tabs differ. */
export type RequestFrame = { op: number; id: string };

export type FromTab =
  /**
   * The first message. Tabs with the same key share a socket. `visit` counts the hellos of the tab.
   * The tab holds `lock` while it lives. `own` has its positions on the session's own channels.
   * `again`: it has lost another worker. `logs`: it wants the log.
   */
  | {
      type: 'hello';
      version: string;
      visit: number;
      key: string;
      settings: SharedSettings;
      lock: string | undefined;
      own: Positions;
      again: boolean;
      logs: boolean;
    }
  | { type: 'connect' }
  /** `again`: the tab resumes, and wants a gap if other tabs are at another position. */
  | { type: 'subscribe'; channel: string; since: string | undefined; last: number; id: number; again: boolean }
  | { type: 'unsubscribe'; channel: string }
  | { type: 'token'; request: number; token: string | null; failed?: string }
  | { type: 'wake'; why: string }
  | { type: 'refresh' }
  | { type: 'ask'; frame: RequestFrame }
  /** A frame that does not count as a message. With an id, the tab gets the answer. */
  | { type: 'post'; frame: { op: number; id?: string } }
  /** The tab has handled this many events. */
  | { type: 'taken'; count: number }
  | { type: 'ping' }
  | { type: 'bye' };

export type FromWorker =
  /**
   * The answer to the hello of this visit. `own` has the positions of the session's own channels.
   */
  | {
      type: 'welcome';
      version: string;
      visit: number;
      state: StateEvent;
      user: string | undefined;
      latencyMs: number | undefined;
      own: Positions;
    }
  /** The worker has this release, and does not serve tabs of another release. */
  | { type: 'version'; version: string }
  /**
   * The worker holds this lock while it lives. A tab that acquires it knows that the worker has
   * ended.
   */
  | { type: 'alive'; lock: string }
  | { type: 'pong' }
  | { type: 'log'; what: string; detail: object }
  | { type: 'state'; event: StateEvent; user: string | undefined }
  | { type: 'error'; event: { where: ErrorEvent['where']; message: string; code?: string } }
  | { type: 'latency'; latencyMs: number }
  /** `id` is the request of the subscription. The session's own channels need none. */
  | { type: 'channel'; event: ChannelEvent; id: number | undefined }
  | { type: 'token'; request: number; reason: TokenReason }
  /** The tab's request with this id was sent to the gateway, and then answered. */
  | { type: 'sent'; id: string }
  | { type: 'answer'; frame: ServerFrame }
  /** The tab handled no events for too long: its subscriptions have ended. It sends hello again. */
  | { type: 'overflow' };

/** The maximum number of unhandled events of a tab, for example one that the browser has frozen. */
export const MAX_UNTAKEN = 10_000;
/** A tab reports its handled events after this many. */
export const TAKEN_EVERY = 100;
/** The reason of the state while a lost worker is replaced. */
export const LOST = 'the shared worker has gone';

/** An error as text: its class does not survive the way from the worker to a tab. */
export function textOf(error: unknown): { message: string; code?: string } {
  return error instanceof GatewayError ? { message: error.message, code: error.code } : { message: String(error) };
}

/** The error of a text from the worker. */
export const errorOf = ({ message, code }: { message: string; code?: string }): Error =>
  code === undefined ? new Error(message) : new GatewayError(code, message);
