/** The options of a SharedClient, and the key that decides which tabs share a socket. */

import { realEnvironment, Timer } from './environment.js';
import type { Port, SharedSettings } from './shared-messages.js';
import { askToken, tokenFrom, userOf, type Token, type TokenReason } from './token.js';
import type { Presence } from './visibility.js';

/** The options of a SharedClient. Only `worker`, `url` and `token` are required. */
export interface SharedClientOptions extends SharedSettings {
  /**
   * A function that returns the worker with the script `@emagine/gateway-client/shared-worker.js`,
   * served from the page's own origin, or a port to it. The client calls the function again when a
   * worker has ended. If it throws or returns no live worker, this tab opens its own socket.
   */
  worker: SharedWorker | Port | (() => SharedWorker | Port);
  /**
   * How long a worker may be silent if the browser does not report its end. Milliseconds, default
   * 20000.
   */
  workerTimeoutMs?: number;
  /** As for GatewayClient. The worker may ask any tab for the token. */
  token: Token;
  /**
   * Tabs with the same key share a socket, and with it the user's private messages, so include the
   * user in the key. If the user may change, pass a function. Default: the URL and the user of the
   * token, which the tab then asks for first.
   */
  key?: string | (() => string);
  /** As for GatewayClient. */
  bufferSize?: number;
  /** As for GatewayClient. */
  presence?: Presence;
  /** As for GatewayClient. Each tab that has a log receives the entries of the shared client. */
  log?: (what: string, detail: object) => void;
}

/** After this many lost workers in a row, the tab opens its own socket. */
export const MAX_LOST = 2;
/** A worker that lasted this long resets the count. Milliseconds. */
export const LASTING_MS = 60_000;
/** After this many closes in a row, `connect` waits: a listener may call it in a loop. */
export const MAX_ENDS = 5;
/** How long it waits then. Milliseconds. */
export const PAUSE_MS = 1_000;

/** A failing log must not prevent the delivery of events. */
export function logTo({ log }: SharedClientOptions, what: string, detail: object): void {
  try {
    log?.(what, detail);
  } catch {
    // It is for debugging only.
  }
}

/** The options that the worker needs. A message has no field for an option that is not set. */
export function settingsOf(options: SharedClientOptions): SharedSettings {
  const { url, backoff, connectTimeoutMs, heartbeatTimeoutMs } = options;
  return {
    url,
    ...(backoff && { backoff }),
    ...(connectTimeoutMs !== undefined && { connectTimeoutMs }),
    ...(heartbeatTimeoutMs !== undefined && { heartbeatTimeoutMs }),
  };
}

/** The timeout of the token function, in milliseconds. The worker asks another tab earlier. */
const TOKEN_TIMEOUT_MS = 15_000;

/** The default key: the URL and the token's user. */
export const keyOf = ({ url }: SharedClientOptions, token: string): string => `${url} ${userOf(token)}`;

export function tokenOf({ token }: SharedClientOptions, reason: TokenReason): Promise<string | null> {
  return askToken(() => tokenFrom(token, reason), TOKEN_TIMEOUT_MS, new Timer(realEnvironment()));
}

/** Tabs with the same key share private messages. A tab without a known user does not share. */
export async function findKey(options: SharedClientOptions): Promise<string> {
  const { key } = options;
  try {
    if (key) return typeof key === 'string' ? key : key();
    const token = await tokenOf(options, 'connect');
    if (token) return keyOf(options, token);
  } catch {
    // The worker asks this tab for the token, and reports errors in it.
  }
  return `${options.url} ${Math.random()}`;
}
