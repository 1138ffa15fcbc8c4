/** Listeners and asynchronous iterations of the same events. */

import { BufferOverflow } from './errors.js';

/** Removes a listener. */
export type Off = () => void;

/**
 * Calls listeners in the order of registration, and feeds iterations. If a listener throws, the
 * others are called nevertheless.
 */
export abstract class Emitter<Events extends Record<string, any>> implements AsyncIterable<Events['event']> {
  readonly #limit: number;
  /** The listeners of each type, and whether they are called once. */
  readonly #listeners = new Map<PropertyKey, Set<readonly [listener: (event: any) => void, isOnce: boolean | undefined]>>();
  readonly #streams = new Set<Stream>();

  /** @internal `limit` is the number of events that each iteration may buffer. */
  constructor(limit = 10_000) {
    this.#limit = limit;
  }

  /**
   * Adds a listener for a type of event, or with `event` for all events of channels. The returned
   * function removes it.
   */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): Off;
  /** @internal */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void, isOnce: boolean): Off;
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void, isOnce?: boolean): Off {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all);
    // An entry of its own, so that a function that was added twice can be removed once.
    const entry = [listener, isOnce] as const;
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** Adds a listener for the next event of a type. The returned function removes it. */
  once<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): Off {
    return this.on(type, listener, true);
  }

  /** Removes a listener of a type, as often as it was added. */
  off<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): void {
    this.#listeners.get(type)?.forEach((entry, _, all) => entry[0] === listener && all.delete(entry));
  }

  /**
   * The events of channels from now on, in order. The iteration ends with the subscription or the
   * client. It throws BufferOverflow if the loop falls too far behind.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Events['event']> {
    const stream: Stream = new Stream(this.#limit, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    return stream;
  }

  /**
   * @internal Calls the listeners of a type, and returns whether there are any. A listener that is
   * removed meanwhile is not called; one that is added starts with the next event.
   */
  emit(type: PropertyKey, event?: unknown): boolean {
    const all = this.#listeners.get(type);
    const entries = new Set(all);
    for (const entry of entries) {
      const [listener, isOnce] = entry;
      if (!all!.has(entry)) continue;
      if (isOnce) all!.delete(entry);
      try {
        listener(event);
      } catch (error) {
        // An error thrown by an error listener must be visible, but must not call the listener again.
        if (type === 'error') console.error(error);
        else this.onThrown(error);
      }
    }
    return entries.size > 0;
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

  /** @internal A listener or a parser threw an error. */
  abstract onThrown(error: unknown): void;

  /** @internal Ends the iterations. */
  finish(): void {
    this.#streams.forEach((stream) => stream.finish());
  }
}

/** An iteration for `for await`. It buffers `limit` events, and then ends with BufferOverflow. */
class Stream implements AsyncIterableIterator<any> {
  readonly #limit: number;
  readonly #onEnd: () => void;
  #waiting: unknown[] = [];
  /** Wakes the pending calls of `next`. */
  #wakes: Array<() => void> = [];
  #end: { error?: Error | undefined } | undefined;

  constructor(limit: number, onEnd: () => void) {
    this.#limit = limit;
    this.#onEnd = onEnd;
  }

  push(event: unknown): void {
    if (this.#waiting.length >= this.#limit) return this.finish(new BufferOverflow());
    this.#waiting.push(event);
    this.#wakes.shift()?.();
  }

  /** Ends the iteration after the buffered events, with the error if there is one. */
  finish(error?: Error): void {
    this.#end ??= { error };
    this.#onEnd();
    this.#wakes.splice(0).forEach((wake) => wake());
  }

  async next(): Promise<IteratorResult<any>> {
    while (!this.#waiting.length && !this.#end) await new Promise<void>((wake) => this.#wakes.push(wake));
    const done = !this.#waiting.length;
    const error = done && this.#end!.error;
    if (error) {
      this.#end = {};
      throw error;
    }
    return { value: this.#waiting.shift(), done };
  }

  /** The app left the loop. */
  async return(): Promise<IteratorResult<any>> {
    this.finish();
    this.#waiting = [];
    this.#end = {};
    return this.next();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
