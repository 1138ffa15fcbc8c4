/** How long to wait before the next attempt: full jitter, so that clients that were cut together do not return together. */

import type { Return } from './protocol.js';

/** The shape of the back-off. */
export interface BackoffOptions {
  /** The first wait is a random time below this, and each further one below twice as much. Milliseconds, 1000. */
  baseMs?: number;
  /** No wait is longer. Milliseconds, 30000. */
  maxMs?: number;
  /** A connection that lasted this long was a good one: the next wait is short again. Milliseconds, 10000. */
  stableMs?: number;
}

/** Clients that are sent away all at once and are not told when to come back are spread over this time. */
const SPREAD_MS = 3_000;

/** Counts attempts, and draws the wait before each. */
export class Backoff {
  readonly #random: () => number;
  /** How many attempts were made since the last good connection. */
  attempts = 0;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #stableMs: number;

  constructor(options: BackoffOptions = {}, random: () => number) {
    this.#random = random;
    this.#baseMs = options.baseMs ?? 1_000;
    this.#maxMs = options.maxMs ?? 30_000;
    this.#stableMs = options.stableMs ?? 10_000;
  }

  /** A connection ended after this time in Ready. Returns whether it lasted. */
  lasted(readyMs: number): boolean {
    const isGood = readyMs >= this.#stableMs;
    if (isGood) this.attempts = 0;
    return isGood;
  }

  /** The wait before the next attempt, in milliseconds. */
  next(kind: Return | 'later'): number {
    const bound = Math.min(this.#maxMs, this.#baseMs * 2 ** this.attempts);
    this.attempts = Math.min(this.attempts + 1, 30);
    // A client over its budget waits until it refills: at least half of the bound.
    if (kind === 'patiently') return (this.#maxMs * (1 + this.#random())) / 2;
    if (kind === 'later') return (bound * (1 + this.#random())) / 2;
    return this.#random() * (kind === 'spread' ? Math.max(bound, SPREAD_MS) : bound);
  }
}
