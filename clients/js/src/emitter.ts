/** Listeners and asynchronous iterations of the same events. */

/** Removes a listener. */
export type Off = () => void;

/**
 * Calls listeners in the order of registration, and feeds iterations. If a listener throws, the
 * others are called nevertheless.
 */
export class Emitter<Events extends Record<string, any>> implements AsyncIterable<Events['event']> {
  readonly #onThrown: (error: unknown, type: string) => void;
  readonly #limit: number;
  readonly #listeners = new Map<PropertyKey, Set<(event: any) => void>>();
  readonly #streams = new Set<Stream<any>>();

  /**
   * @internal
   * @param onThrown gets the error that a listener threw, and the type of the event.
   * @param limit the number of events that each iteration may buffer.
   */
  constructor(onThrown: (error: unknown, type: string) => void, limit = 10_000) {
    this.#onThrown = onThrown;
    this.#limit = limit;
  }

  /**
   * Adds a listener for a type of event, or with `event` for all events of channels. The returned
   * function removes it.
   */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): Off {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all);
    // Wrapped, so that a function that was added twice can be removed once.
    const entry = (event: Events[Type]) => listener(event);
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** The events of channels from now on, in order. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Events['event']> {
    const stream: Stream<any> = new Stream(this.#limit, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /**
   * @internal Calls the listeners of a type, and returns whether there are any. A listener that is
   * removed meanwhile is not called; one that is added starts with the next event.
   */
  emit(type: PropertyKey, event: unknown): boolean {
    const all = this.#listeners.get(type);
    for (const listener of new Set(all)) {
      if (!all!.has(listener)) continue;
      try {
        listener(event);
      } catch (error) {
        this.#onThrown(error, type as string);
      }
    }
    return !!all?.size;
  }

  /**
   * @internal Delivers an event to all iterations and listeners. Iterations first, because a listener
   * may end them.
   */
  tell(event: { type: string }): void {
    this.#streams.forEach((stream) => stream.push(event));
    this.emit(event.type, event);
    this.emit('event', event);
  }

  /** @internal Ends the iterations. */
  finish(): void {
    this.#streams.forEach((stream) => stream.finish());
  }
}

/**
 * The error of an iteration whose buffer was full. The iteration yields the buffered events first;
 * later events are lost to it.
 */
export class BufferOverflow extends Error {
  /**
   * The app sees one class, whichever copy of this module (ESM, CommonJS, a bundle) threw the
   * error.
   */
  static override [Symbol.hasInstance](error: any): boolean {
    return error?.name === 'BufferOverflow';
  }

  constructor(limit: number) {
    super(`${limit} events waited`);
    this.name = 'BufferOverflow';
  }
}

/** An iteration for `for await`. It buffers `limit` events, and then ends with BufferOverflow. */
export class Stream<Event> implements AsyncIterableIterator<Event> {
  readonly #limit: number;
  readonly #onEnd: () => void;
  #waiting: Event[] = [];
  /** Wakes the pending calls of `next`. */
  #wakes: Array<() => void> = [];
  #end: { error?: Error | undefined } | undefined;

  constructor(limit: number, onEnd: () => void) {
    this.#limit = limit;
    this.#onEnd = onEnd;
  }

  push(event: Event): void {
    if (this.#end) return;
    if (this.#waiting.length >= this.#limit) return this.finish(new BufferOverflow(this.#limit));
    this.#waiting.push(event);
    this.#wakes.shift()?.();
  }

  /** Ends the iteration after the buffered events, with the error if there is one. */
  finish(error?: Error): void {
    if (this.#end) return;
    this.#end = { error };
    this.#onEnd();
    this.#wakes.splice(0).forEach((wake) => wake());
  }

  async next(): Promise<IteratorResult<Event>> {
    while (!this.#waiting.length && !this.#end) await new Promise<void>((wake) => this.#wakes.push(wake));
    if (this.#waiting.length) return { value: this.#waiting.shift()!, done: false };
    const { error } = this.#end!;
    this.#end = {};
    if (error) throw error;
    return { value: undefined, done: true };
  }

  /** The app left the loop. */
  async return(): Promise<IteratorResult<Event>> {
    this.finish();
    this.#waiting = [];
    this.#end = {};
    return this.next();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
