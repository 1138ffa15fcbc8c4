/** How much may be sent: the gateway closes a client (4007) that sends more than it announces in Hello. */

const MINUTE_MS = 60_000;

/** Keeps to a number of messages in any minute. */
export class Budget {
  readonly #perMinute: number;
  /** When the messages of the last minute were sent. */
  #sent: number[] = [];

  /** @param perMinute 0 is no limit. */
  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** What cannot wait (a heartbeat, a refresh) was sent. */
  note(now: number): void {
    if (this.#perMinute > 0) this.#sent.push(now);
  }

  /**
   * How long what can wait has to, in milliseconds; 0 is not at all. A part of the budget stays free for what
   * cannot wait.
   */
  wait(now: number): number {
    if (this.#perMinute === 0) return 0;
    // A clock that was set back must not hold anything back for longer.
    this.#sent = this.#sent.filter((time) => time <= now && now - time < MINUTE_MS);
    const usable = Math.max(1, Math.floor(this.#perMinute * 0.8));
    return this.#sent.length < usable ? 0 : this.#sent[this.#sent.length - usable]! + MINUTE_MS - now;
  }
}
