/** Tokens: where they come from, and when a new one is needed. */

import { Timer, type Environment } from './environment.js';

/** Why a token is asked for. After `connect` it may be one that is kept; the others want a new one. */
export type TokenReason = 'connect' | 'refresh' | 'expired' | 'refused';

/** A token, or what gets one. `null` means that there is none: the user is logged out. */
export type Token = string | ((reason: TokenReason) => string | null | Promise<string | null>);

/** Asks for a token within a time. Rejects when that has passed, or with what the function threw. */
export function askToken(
  token: Token,
  reason: TokenReason,
  timeoutMs: number,
  environment: Environment,
): Promise<string | null> {
  if (typeof token === 'string') return Promise.resolve(token);
  return new Promise((resolve, reject) => {
    const timer = new Timer(environment);
    timer.set(timeoutMs, () => reject(new Error('the token function took too long')));
    Promise.resolve()
      .then(() => token(reason))
      .then(resolve, reject)
      .finally(() => timer.clear());
  });
}

/** A token is asked for again no sooner than this, in milliseconds. */
const SOONEST_MS = 1_000;

/** Renews the token of a session before it expires. */
export class Refresh {
  readonly #environment: Environment;
  readonly #renew: () => void;
  readonly #timer: Timer;
  #expiresAt = 0;

  constructor(environment: Environment, renew: () => void) {
    this.#environment = environment;
    this.#renew = renew;
    this.#timer = new Timer(environment);
  }

  /** The session's token is good for so long: renews it when a fifth to a tenth of that is left. */
  onExpiry(expiresInMs: number | undefined): void {
    this.#timer.clear();
    if (expiresInMs === undefined) return;
    this.#expiresAt = this.#environment.now() + expiresInMs;
    this.#in(expiresInMs * (0.8 + 0.1 * this.#environment.random()));
  }

  /** It was not renewed: tries again while there is time. */
  onFailed(): void {
    this.#in((this.#expiresAt - this.#environment.now()) / 3);
  }

  stop(): void {
    this.#timer.clear();
  }

  #in(delayMs: number): void {
    this.#timer.set(Math.max(delayMs, SOONEST_MS), this.#renew);
  }
}
