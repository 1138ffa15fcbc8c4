/** The order of everything that happens to a client: one act at a time, and its events after it. */

export class EventQueue {
  readonly #tasks: Array<() => void> = [];
  #isRunning = false;

  /** Runs an act at once. Events that it causes are delivered when it has finished. */
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

  /** Runs a task behind everything that is in the queue: at once if nothing is. */
  push(task: () => void): void {
    this.#tasks.push(task);
    this.run(() => {});
  }
}
