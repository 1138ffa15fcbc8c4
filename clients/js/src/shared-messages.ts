/** What tabs and the worker that they share say to each other. */

import type { BackoffOptions } from './backoff.js';
import type { ErrorEvent, StateEvent } from './options.js';
import type { ChannelEvent } from './subscription.js';
import type { TokenReason } from './token.js';

/** The release of this library. A tab does not use a worker of another release. */
export const VERSION = '0.1.0';

/** What can be told to a worker: everything but functions. */
export interface SharedSettings {
  url: string;
  backoff?: BackoffOptions;
  connectTimeoutMs?: number;
  heartbeatTimeoutMs?: number;
}

/** The part of a MessagePort that is used. */
export interface Port {
  postMessage(message: unknown): void;
  onmessage: ((event: any) => void) | null;
  close?(): void;
}

/** Positions by channel. */
export type Positions = Record<string, string>;

export type FromTab =
  /**
   * The first message. Tabs with the same key share a socket. `visit` counts how often the tab has come. `lock` is held as
   * long as the tab lives. `own` says where it is on the session's own channels, `again` that it has lost another worker,
   * and `logs` that it wants to know it all.
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
  /** `again`: the tab continues, and wants to be told of a gap where others are at another position. */
  | { type: 'subscribe'; channel: string; since: string | undefined; id: number; again: boolean }
  | { type: 'unsubscribe'; channel: string }
  | { type: 'token'; request: number; token: string | null; failed?: string }
  | { type: 'wake'; why: string }
  | { type: 'refresh' }
  /** So many events have been taken. */
  | { type: 'taken'; count: number }
  | { type: 'ping' }
  | { type: 'bye' };

export type FromWorker =
  /** The answer to the hello of this visit. `own` says where the session's own channels are. */
  | {
      type: 'welcome';
      version: string;
      visit: number;
      state: StateEvent;
      user: string | undefined;
      latencyMs: number | undefined;
      own: Positions;
    }
  /** The worker has this release, and does not serve tabs of another. */
  | { type: 'version'; version: string }
  /** Whoever gets this lock knows that the worker has gone. */
  | { type: 'alive'; lock: string }
  | { type: 'pong' }
  | { type: 'log'; what: string; detail: object }
  | { type: 'state'; event: StateEvent; user: string | undefined }
  | { type: 'error'; event: { where: ErrorEvent['where']; message: string } }
  | { type: 'latency'; latencyMs: number }
  /** `id` names the subscription that hears it. The session's own channels are heard without one. */
  | { type: 'channel'; event: ChannelEvent; id: number | undefined }
  | { type: 'token'; request: number; reason: TokenReason }
  /** The tab took nothing for too long: its subscriptions have ended. It says hello again. */
  | { type: 'overflow' };

/** How many events may be on their way to a tab that takes none, as one that the browser has frozen. */
export const MAX_UNTAKEN = 10_000;
/** A tab says how many it has taken after so many. */
export const TAKEN_EVERY = 100;
/** The reason of the state while a lost worker is replaced. */
export const LOST = 'the shared worker has gone';
