/** Tokens: where they come from, and when a new one is needed. */

import { GatewayError } from './errors.js';
import { Timer, type Environment } from './environment.js';
import { TOKEN_MS } from './limits.js';
import { text } from './protocol.js';

/**
 * Why the client asks for a token. For `connect` a stored token is fine; the other reasons need a
 * new one:
 *
 * - `refresh`: the token expires soon, or the app called `refresh`.
 * - `expired`: the gateway ended the session because its token expired (4009).
 * - `refused`: the gateway refused the token (4003).
 */
export type TokenReason = 'connect' | 'refresh' | 'expired' | 'refused';

/** A token, or a function that returns one. `null` means that nobody is logged in. */
export type Token = string | ((reason: TokenReason) => string | null | Promise<string | null>);

/** The answer to a request for a token, which is not checked yet. */
export const tokenFrom = (token: Token, reason: TokenReason): unknown => (typeof token === 'function' ? token(reason) : token);

/**
 * Asks for a token with a timeout, which `timer` measures. Rejects after the timeout, with the error
 * that the app's function threw, or if the answer is not a token.
 */
export function askToken(ask: () => unknown, timeoutMs: number, timer: Timer): Promise<string | null> {
  return new Promise((resolve, reject) => {
    timer.set(timeoutMs, () => reject(new GatewayError('timeout')));
    Promise.resolve()
      .then(ask)
      .then((answer) => (answer == null ? null : checked(answer)))
      .then(resolve, reject)
      .finally(() => timer.clear());
  });
}

/** The token, if it is one. */
export function checked(token: unknown): string {
  // The error does not quote the value: it may be a secret.
  if (text(token) === undefined) throw new TypeError('token is not a string');
  return token as string;
}

/**
 * The user of a token: a JWT's `sub`, the signed part of E-Magine's login tokens, or the token
 * itself.
 */
export function userOf(token: string): string {
  const parts = token.split('.');
  if (parts.length < 3 || parts.at(-1)!.length < 20) return token;
  try {
    return JSON.parse(atob(parts[1]!.replace(/-/g, '+').replace(/_/g, '/'))).sub ?? token;
  } catch {
    return parts.slice(0, -2).join('.');
  }
}

/** Renews the token of a session before it expires. */
export class Refresh {
  readonly #environment: Environment;
  readonly #renew: () => void;
  readonly #timer: Timer;
  #expiresAt: number | undefined;
  #renewedAt = -Infinity;

  constructor(environment: Environment, renew: () => void) {
    this.#environment = environment;
    this.#renew = renew;
    this.#timer = new Timer(environment);
  }

  /** Renews a token with this lifetime when a fifth to a tenth of it is left. */
  onExpiry(expiresInMs: number | undefined): void {
    this.#expiresAt = undefined;
    this.#timer.clear();
    if (expiresInMs === undefined) return;
    this.#expiresAt = this.#environment.now() + expiresInMs;
    this.#in(expiresInMs * (0.8 + 0.1 * this.#environment.random()));
  }

  /** The token was not renewed: tries again before it expires. */
  onFailed(): void {
    if (this.#expiresAt !== undefined) this.#in((this.#expiresAt - this.#environment.now()) / 3);
  }

  /** Refreshes the token at once, or as soon as another request is allowed. */
  now(): void {
    this.#in(0);
  }

  clear(): void {
    this.#timer.clear();
  }

  #in(delayMs: number): void {
    const { now } = this.#environment;
    this.#timer.set(Math.max(delayMs, this.#renewedAt + TOKEN_MS - now()), () => {
      this.#renewedAt = now();
      this.#renew();
    });
  }
}
