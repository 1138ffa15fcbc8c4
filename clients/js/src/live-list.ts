/** A list that an app loads from its own server, kept current by a channel's messages. */

import type { GatewayClientLike } from './options.js';
import type { ChannelEvent, Subscription, SubscriptionState } from './subscription.js';

/** The options of a LiveList. */
export interface LiveListOptions<Item, Message = Item> {
  /**
   * Loads the current items, oldest first. It is called once the channel is subscribed, and again
   * after each gap, so that no message between the two is missed. A failed load is repeated.
   */
  load(signal: AbortSignal): Promise<readonly Item[]>;
  /** The key of an item, and of the item that a message is about. */
  key(value: Item | Message): string | number;
  /**
   * The item after a message; `undefined` removes it. Without this function a message is the new
   * item. A message may already be part of what was loaded, so applying it again must change nothing.
   */
  merge?(item: Item | undefined, message: Message): Item | undefined;
  /** The number of items to keep; the oldest are dropped. Default 1000. */
  limit?: number;
}

/** What a LiveList shows. Each change makes a new object. */
export interface LiveListView<Item> {
  items: readonly Item[];
  /** The state of the subscription. */
  state: SubscriptionState;
  /** Whether the items are being loaded. Earlier items stay until the new ones are there. */
  isLoading: boolean;
  /** Why the latest load failed; it is repeated. */
  error: unknown;
}

/** The waits between loads that failed: a random part of a limit that doubles up to the maximum. */
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** A page that is hidden has no frames; one that is hidden after the request of a frame waits this long. */
const MAX_FRAME_MS = 250;

/** Runs a task before the next frame, or soon if there is none. */
function beforeFrame(task: () => void): void {
  if (typeof document === 'undefined' || document.hidden) return void setTimeout(task, 0);
  const run = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    task();
  };
  const frame = requestAnimationFrame(run);
  const timer = setTimeout(run, MAX_FRAME_MS);
}

/** A list of a channel. It is subscribed while it has listeners, and changes at most once per frame. */
export class LiveList<Item, Message = Item> {
  readonly #client: GatewayClientLike;
  readonly #channel: string;
  readonly #options: () => LiveListOptions<Item, Message>;
  readonly #listeners = new Set<() => void>();
  #view: LiveListView<Item> = { items: [], state: 'pending', isLoading: true, error: undefined };
  #items = new Map<string | number, Item>();
  #subscription: Subscription | undefined;
  #stop: (() => void) | undefined;
  #loading: AbortController | undefined;
  /** The messages that arrived during a load. */
  #arrived: Message[] = [];
  #isStale = true;
  #failures = 0;
  #error: unknown;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #isScheduled = false;

  /** With a function for the options, each call reads the current ones. */
  constructor(
    client: GatewayClientLike,
    channel: string,
    options: LiveListOptions<Item, Message> | (() => LiveListOptions<Item, Message>),
  ) {
    this.#client = client;
    this.#channel = channel;
    this.#options = typeof options === 'function' ? options : () => options;
  }

  /** The current view. The object stays the same until something changes. */
  get view(): LiveListView<Item> {
    return this.#view;
  }

  /** Calls the listener for each new view, until the returned function is called. */
  listen(listener: () => void): () => void {
    const one = () => listener();
    this.#listeners.add(one);
    if (this.#listeners.size === 1) this.#start();
    return () => {
      if (this.#listeners.delete(one) && this.#listeners.size === 0) this.#end();
    };
  }

  /** Loads the items again, as after a gap. */
  reload(): void {
    this.#isStale = true;
    this.#failures = 0;
    this.#load();
  }

  #start(): void {
    this.#open();
    this.#stop = this.#client.on('state', () => {
      // The client was closed and connects again, perhaps for another user: drop what it had.
      if (this.#subscription?.state === 'closed' && this.#client.state !== 'closed') {
        this.#forget();
        this.#items = new Map();
        this.#open();
      }
      this.#show();
    });
  }

  #end(): void {
    this.#stop?.();
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#forget();
  }

  #open(): void {
    const subscription = this.#client.subscribe(this.#channel);
    this.#subscription = subscription;
    subscription.on('event', (event) => subscription === this.#subscription && this.#hear(event));
  }

  #hear(event: ChannelEvent): void {
    if (event.type === 'message') return this.#take(event.message);
    if (event.type === 'gap') this.#isStale = true;
    if (event.type === 'gap' || event.type === 'subscribed') this.#load();
    this.#show();
  }

  #take(message: Message): void {
    if (!this.#loading) {
      this.#apply(message);
      return this.#show();
    }
    this.#arrived.push(message);
    if (this.#arrived.length <= this.#limit) return;
    // What is dropped may be about items that were loaded, so they are loaded again afterwards.
    this.#arrived = [];
    this.#isStale = true;
  }

  #load(): void {
    if (!this.#isStale || this.#subscription?.state !== 'subscribed') return;
    this.#forget();
    this.#isStale = false;
    const loading = (this.#loading = new AbortController());
    const finish = (change: () => void) => {
      if (this.#loading !== loading) return;
      this.#loading = undefined;
      try {
        change();
        this.#arrived.splice(0).forEach((message) => this.#apply(message));
      } catch (error) {
        // An exception of `key` or `merge`: what they did not apply is loaded again.
        this.#fail(error);
      }
      this.#show();
      if (this.#failures === 0) this.#load();
    };
    const { load, key } = this.#options();
    // An exception of `load` is a failure like a rejected promise.
    new Promise<readonly Item[]>((resolve) => resolve(load(loading.signal))).then(
      (items) => finish(() => this.#replace(items, key)),
      (error: unknown) => finish(() => this.#fail(error)),
    );
    this.#show();
  }

  #replace(items: readonly Item[], key: (item: Item) => string | number): void {
    this.#items = new Map(items.map((item) => [key(item), item]));
    this.#failures = 0;
    this.#error = undefined;
    this.#trim();
  }

  #fail(error: unknown): void {
    this.#error = error;
    this.#isStale = true;
    const limitMs = Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** this.#failures++);
    this.#retry = setTimeout(() => this.#load(), Math.random() * limitMs);
  }

  #apply(message: Message): void {
    const { key, merge } = this.#options();
    const id = key(message);
    const item = merge ? merge(this.#items.get(id), message) : (message as unknown as Item);
    if (item === undefined) this.#items.delete(id);
    else this.#items.set(id, item);
    this.#trim();
  }

  #trim(): void {
    for (const id of this.#items.keys()) {
      if (this.#items.size <= this.#limit) return;
      this.#items.delete(id);
    }
  }

  get #limit(): number {
    return this.#options().limit ?? 1_000;
  }

  /** Ends a running load and a planned one. What they would have brought is missing. */
  #forget(): void {
    this.#loading?.abort();
    this.#loading = undefined;
    clearTimeout(this.#retry);
    this.#arrived = [];
    this.#isStale = true;
  }

  /** Makes a new view before the next frame. */
  #show(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    beforeFrame(() => {
      this.#isScheduled = false;
      const state = this.#subscription?.state ?? 'pending';
      // Not subscribed yet, or not loaded.
      const isLoading = this.#loading !== undefined || (this.#isStale && this.#error === undefined && state !== 'refused');
      this.#view = { items: [...this.#items.values()], state, isLoading, error: this.#error };
      this.#listeners.forEach((listener) => listener());
    });
  }
}
