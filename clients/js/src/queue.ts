/** The order of a client's work: one task at a time, then its events. */

/** A queue that runs one task at a time. */
export class EventQueue {
  readonly #tasks: Array<() => void> = [];
  #isRunning = false;

  /** Runs a task at once. The events that it causes are delivered after it. */
  run(act: () => void): void {
    if (this.#isRunning) return act();
    this.#isRunning = true;
    try {
      act();
      for (let task; (task = this.#tasks.shift()); ) task();
    } finally {
      this.#isRunning = false;
    }
  }

  /** Runs a task after everything in the queue: at once if it is empty. */
  push(task: () => void): void {
    this.#tasks.push(task);
    this.run(() => {});
  }
}
