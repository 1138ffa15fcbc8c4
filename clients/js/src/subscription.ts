/** A channel as the app sees it: what it hears, and where it is. */

import { Emitter, Stream, type Off } from './emitter.js';

/** What can happen on a channel, in the order in which it happens. */
export type ChannelEvent =
  /** A message. A durable one has a position: the place to continue behind it. */
  | { type: 'message'; channel: string; message: any; position?: string }
  /** The gateway cannot read the history at this moment. The channel is silent until `subscribed`; nothing is lost. */
  | { type: 'recovering'; channel: string }
  /** What comes from now on is heard. Comes again after each reconnection. */
  | { type: 'subscribed'; channel: string; position: string }
  /** After a reconnection: no durable message is missing. Those that were missed follow as ordinary messages. */
  | { type: 'recovered'; channel: string; position: string }
  /**
   * Messages may be missing here: fetch anew what matters. `position` is where the channel goes on, where it is known.
   * The reason is the gateway's, or `not_recovered` (too much was missed, or the history is gone).
   */
  | { type: 'gap'; channel: string; reason: string; position?: string }
  /** The gateway does not (or no longer) allow this channel. It is asked for again with the next connection. */
  | { type: 'refused'; channel: string; reason: string };

/** The event of one type. */
export type ChannelEventOf<Type extends ChannelEvent['type']> = Extract<ChannelEvent, { type: Type }>;

/** Each type of event, and `event` for all of them. */
export type ChannelEvents = { [Type in ChannelEvent['type']]: ChannelEventOf<Type> } & { event: ChannelEvent };

/**
 * Not subscribed at the moment (or not yet); silent until the gateway can read the history; subscribed; not allowed;
 * given up by the app.
 */
export type SubscriptionState = 'pending' | 'recovering' | 'subscribed' | 'refused' | 'closed';

/** What is the same for all subscriptions of a client. */
export interface SubscriptionContext {
  /** How many events may wait for `for await`. */
  bufferSize: number;
  onThrown(error: unknown): void;
  /** A channel has its first subscription, or has lost its last one. */
  onWanted(channel: Channel, since?: string): void;
}

/** One channel of a client, with all the subscriptions that share it. */
export class Channel {
  /** The place behind the last thing that was given to the app; where to continue. */
  cursor: string | undefined;
  state: SubscriptionState = 'pending';
  /** Why it is refused, where it is. */
  refusal = '';
  readonly subscriptions = new Set<Subscription>();

  constructor(
    readonly name: string,
    readonly context: SubscriptionContext,
  ) {}

  get isWanted(): boolean {
    return this.subscriptions.size > 0;
  }

  emit(event: ChannelEvent): void {
    for (const subscription of [...this.subscriptions]) subscription.deliver(event);
  }

  /** Another part of the app wants this channel. */
  subscribe(since: string | undefined): Subscription {
    const isFirst = !this.isWanted;
    const subscription = new Subscription(this);
    if (isFirst) this.context.onWanted(this, since);
    // Whoever comes later, or to one of the session's own channels, hears it from here on.
    const [at, isMissing] = [this.cursor, since !== undefined && since !== this.cursor];
    const isOn = this.state === 'subscribed' && at !== undefined;
    const isRecovering = this.state === 'recovering';
    // Not at once: nobody can listen to it yet.
    void Promise.resolve().then(() => {
      const channel = this.name;
      if (isOn) subscription.deliver({ type: 'subscribed', channel, position: at });
      if (isRecovering) subscription.deliver({ type: 'recovering', channel });
      if (this.state === 'refused') subscription.deliver({ type: 'refused', channel, reason: this.refusal });
      if (isMissing)
        subscription.deliver({ type: 'gap', channel, reason: 'not_recovered', ...(at ? { position: at } : {}) });
    });
    return subscription;
  }
}

/** One part of the app that listens to a channel. The channel is left when the last one is closed. */
export class Subscription implements AsyncIterable<ChannelEvent> {
  readonly #owner: Channel;
  readonly #emitter: Emitter<ChannelEvents>;
  readonly #streams = new Set<Stream<ChannelEvent>>();
  #isClosed = false;

  /** @internal */
  constructor(owner: Channel) {
    this.#owner = owner;
    this.#emitter = new Emitter(owner.context.onThrown);
    owner.subscriptions.add(this);
  }

  /** The channel's name. */
  get channel(): string {
    return this.#owner.name;
  }

  get state(): SubscriptionState {
    return this.#isClosed ? 'closed' : this.#owner.state;
  }

  /** The place behind the last durable message that was given to the app: what `since` takes later. */
  get position(): string | undefined {
    return this.#owner.cursor;
  }

  /** Calls back for each event of a type, or for `event`: all of them. Returns what takes the listener away. */
  on<Type extends keyof ChannelEvents>(type: Type, listener: (event: ChannelEvents[Type]) => void): Off {
    return this.#emitter.on(type, listener);
  }

  /**
   * All events from now on, in order. It ends when the subscription is closed, and with BufferOverflow when the loop
   * falls too far behind: subscribe again with the `since` of the last message that you had.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent> {
    const stream: Stream<ChannelEvent> = new Stream(this.#owner.context.bufferSize, () => this.#streams.delete(stream));
    if (this.#isClosed) stream.finish();
    else this.#streams.add(stream);
    return stream;
  }

  /** Hears nothing any more. */
  unsubscribe(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.subscriptions.delete(this);
    this.#streams.forEach((stream) => stream.finish());
    if (!this.#owner.isWanted) this.#owner.context.onWanted(this.#owner);
  }

  /** @internal */
  deliver(event: ChannelEvent): void {
    if (this.#isClosed) return;
    this.#emitter.emit(event.type, event as never);
    this.#emitter.emit('event', event);
    this.#streams.forEach((stream) => stream.push(event));
  }
}
