/**
 * The wait before the next attempt. It has full jitter, so that clients that were disconnected
 * together do not reconnect together.
 */

import { SPREAD_MS } from './limits.js';
import { ReconnectRule } from './protocol.js';

/** The back-off between connection attempts. */
export interface BackoffOptions {
  /**
   * The first wait is a random time below this bound. The bound doubles with each attempt.
   * Milliseconds, default 1000.
   */
  baseMs?: number;
  /** The maximum of the bound. Milliseconds, default 30000. */
  maxMs?: number;
  /** A connection that lasted this long resets the bound. Milliseconds, default 10000. */
  stableMs?: number;
}

/** Counts attempts, and chooses the wait before each. */
export class Backoff {
  readonly #random: () => number;
  /** The number of attempts since the last connection that lasted. */
  tries = 0;
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #stableMs: number;

  constructor(options: BackoffOptions = {}, random: () => number) {
    this.#random = random;
    this.#baseMs = options.baseMs ?? 1_000;
    this.#maxMs = options.maxMs ?? 30_000;
    this.#stableMs = options.stableMs ?? 10_000;
  }

  /** Call when a connection ends, with the time since its Ready. Returns whether it lasted. */
  lasted(readyMs: number): boolean {
    const isGood = readyMs >= this.#stableMs;
    if (isGood) this.tries = 0;
    return isGood;
  }

  /**
   * The wait before the next attempt, in milliseconds. Without a rule it is at least half of the
   * bound.
   */
  next(kind?: ReconnectRule): number {
    const bound = Math.min(this.#maxMs, this.#baseMs * 2 ** this.tries++);
    const random = this.#random();
    // A client over its budget waits until it refills.
    if (!kind || kind === ReconnectRule.LongWait) return ((kind ? this.#maxMs : bound) * (1 + random)) / 2;
    return random * Math.max(bound, kind === ReconnectRule.Spread ? SPREAD_MS : 0);
  }
}
