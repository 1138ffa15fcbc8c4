/**
 * The message budget. The gateway closes a client (4007) that sends more messages than Hello
 * allows.
 */

const MINUTE_MS = 60_000;

/** Limits the number of messages in any minute. */
export class Budget {
  readonly #perMinute: number;
  /** The times of the messages of the last minute. */
  #sent: number[] = [];

  /** @param perMinute 0 means no limit. */
  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** Call when a message was sent, also for one that cannot wait (a heartbeat, a refresh). */
  note(now: number): void {
    if (this.#perMinute > 0) this.#sent.push(now);
  }

  /**
   * The time until a message that can wait may be sent, in milliseconds; 0 means now. A part of the
   * budget stays free for messages that cannot wait.
   */
  wait(now: number): number {
    if (this.#perMinute === 0) return 0;
    // A clock that was set back must not extend the wait.
    this.#sent = this.#sent.filter((time) => time <= now && now - time < MINUTE_MS);
    const usable = Math.ceil(this.#perMinute * 0.8);
    return this.#sent.length < usable ? 0 : this.#sent[this.#sent.length - usable]! + MINUTE_MS - now;
  }
}
