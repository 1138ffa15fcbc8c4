/** Listeners, and the same events as an asynchronous iteration. */

/** Takes a listener away again. */
export type Off = () => void;

/** Calls listeners in the order in which they came. One that throws does not keep the others from being called. */
export class Emitter<Events extends Record<string, any>> {
  readonly #onThrown: (error: unknown, type: keyof Events) => void;
  readonly #listeners = new Map<keyof Events, Set<(event: any) => void>>();

  /** @param onThrown is given what a listener has thrown, and the type of the event. */
  constructor(onThrown: (error: unknown, type: keyof Events) => void) {
    this.#onThrown = onThrown;
  }

  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): Off {
    let all = this.#listeners.get(type);
    if (!all) this.#listeners.set(type, (all = new Set()));
    // Wrapped, so that the same function may listen twice and each is taken away on its own.
    const entry = (event: Events[Type]) => listener(event);
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** A listener that another one takes away is not called any more; one that is added waits for the next event. */
  emit<Type extends keyof Events>(type: Type, event: Events[Type]): void {
    const all = this.#listeners.get(type);
    for (const listener of [...(all ?? [])]) {
      if (!all?.has(listener)) continue;
      try {
        listener(event);
      } catch (error) {
        this.#onThrown(error, type);
      }
    }
  }

  has(type: keyof Events): boolean {
    return (this.#listeners.get(type)?.size ?? 0) > 0;
  }
}

/** An iteration fell so far behind that its buffer was full. Events after the last one that it returned were not kept. */
export class BufferOverflow extends Error {
  /** One class for the app, whichever copy of this module (ESM, CommonJS, a bundle) has thrown the error. */
  static override [Symbol.hasInstance](error: any): boolean {
    return error instanceof Object && error.name === 'BufferOverflow';
  }

  constructor(limit: number) {
    super(`more than ${limit} events waited to be read`);
    this.name = 'BufferOverflow';
  }
}

/** Events that wait to be read by `for await`. It holds `limit` of them, and then ends with BufferOverflow. */
export class Stream<Event> implements AsyncIterableIterator<Event> {
  readonly #limit: number;
  readonly #onEnd: () => void;
  #waiting: Event[] = [];
  #readers: Array<{ resolve(result: IteratorResult<Event>): void; reject(error: Error): void }> = [];
  #end: { error?: Error } | undefined;

  constructor(limit: number, onEnd: () => void) {
    this.#limit = limit;
    this.#onEnd = onEnd;
  }

  push(event: Event): void {
    if (this.#end) return;
    const reader = this.#readers.shift();
    if (reader) reader.resolve({ value: event, done: false });
    else if (this.#waiting.length < this.#limit) this.#waiting.push(event);
    else this.finish(new BufferOverflow(this.#limit));
  }

  /** What waits is still given out; then the iteration ends, with the error if there is one. */
  finish(error?: Error): void {
    if (this.#end) return;
    this.#onEnd();
    const readers = this.#readers.splice(0);
    // Who waits already is told at once.
    readers.forEach(({ resolve, reject }) => (error ? reject(error) : resolve({ value: undefined, done: true })));
    this.#end = error && !readers.length ? { error } : {};
  }

  next(): Promise<IteratorResult<Event>> {
    if (this.#waiting.length) return Promise.resolve({ value: this.#waiting.shift()!, done: false });
    if (!this.#end) return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
    const { error } = this.#end;
    this.#end = {};
    return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
  }

  /** The loop was left. */
  return(): Promise<IteratorResult<Event>> {
    this.finish();
    this.#waiting = [];
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
