/** The options of a SharedClient, and the key that decides which tabs share a socket. */

import { realEnvironment, Timer } from './environment.js';
import type { Presence } from './presence.js';
import type { Port, SharedSettings } from './shared-messages.js';
import { askToken, userOf, type Token, type TokenReason } from './token.js';

export interface SharedClientOptions extends SharedSettings {
  /**
   * Gets the worker that runs `@emagine/gateway-client/shared-worker.js`, from the page's own origin; or a port to it.
   * It is called again when a worker has ended. If it throws or returns no live worker, this tab opens its own socket.
   */
  worker: SharedWorker | Port | (() => SharedWorker | Port);
  /** How long a worker may be silent if the browser does not report its end. Milliseconds, default 20000. */
  workerTimeoutMs?: number;
  /** As for GatewayClient. Any tab may be asked for the token. */
  token: Token;
  /**
   * Tabs share a socket, and with it everything private, if this is the same: name the user in it. Where the user may
   * change, give a function. Without it the URL and the user that the token names: then a token is asked for first.
   */
  key?: string | (() => string);
  bufferSize?: number;
  presence?: Presence;
  /** As for GatewayClient: what the shared client does is told to each tab that has one. */
  log?: (what: string, detail: object) => void;
}

/** How long the app may take for a token, in milliseconds. The worker asks another tab before. */
const TOKEN_TIMEOUT_MS = 15_000;

/** The key of the tabs of the user that a token names. */
export const keyOf = ({ url }: SharedClientOptions, token: string): string => `${url} ${userOf(token)}`;

export function tokenOf({ token }: SharedClientOptions, reason: TokenReason): Promise<string | null> {
  return askToken(token, reason, TOKEN_TIMEOUT_MS, new Timer(realEnvironment()));
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
