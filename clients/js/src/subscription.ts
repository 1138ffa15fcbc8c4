/// <reference lib="esnext.disposable" preserve="true" />
/** Channels and subscriptions as the app sees them: events and positions. */

import { Emitter } from './emitter.js';
import { text } from './protocol.js';
import type { ChannelEvent, ChannelEventOf, ChannelEvents } from './events.js';

export type { ChannelEvent, ChannelEventOf, ChannelEvents } from './events.js';

/**
 * The state of a subscription:
 *
 * - `pending`: not connected, not answered yet, or not requested yet (the event `pending` has the
 *   reason).
 * - `recovering`: silent until the gateway can read the history.
 * - `subscribed`: messages arrive.
 * - `refused`: the event `refused` has the reason.
 * - `closed`: the app has unsubscribed.
 */
export type SubscriptionState = 'pending' | 'recovering' | 'subscribed' | 'refused' | 'closed';

/** The options of a subscription. */
export interface SubscribeOptions<Message = any> {
  /** The position to resume after. */
  since?: string | null | undefined;
  /**
   * Begin with this many of the newest stored messages, unless `since` says where to continue. The
   * gateway may allow fewer. If a reconnect finds messages missing, they are requested again.
   */
  last?: number | undefined;
  /**
   * Checks each message of this subscription, and returns what its listeners get. If it throws, they
   * get the event `invalid` in place of `message`, and the client emits an error event.
   */
  parse?: ((message: unknown) => Message) | undefined;
  /** Ends the subscription, as `unsubscribe` does. */
  signal?: AbortSignal | undefined;
}

/** The context that all subscriptions of a client share. */
export interface SubscriptionContext {
  /** The session's own channels. */
  own: string[];
  /** The number of events that `for await` may buffer. */
  bufferSize: number | undefined;
  /** A listener or a parser threw an error. */
  onThrown(error: unknown): void;
  /** An event on any channel. */
  onEvent(event: ChannelEvent): void;
  /**
   * A channel got its first subscription, lost its last one, or got another position to resume
   * from.
   */
  onWanted(channel: Channel, isMoved: boolean): void;
  /** Runs a task in a later turn of the event loop, so that the app can add listeners first. */
  later(task: () => void): void;
  /** Runs a task after this turn, in the client's order of events. */
  soon(task: () => void): void;
}

/** The refusal of a subscription whose `since` differs from the channel's position. */
export const SINCE_CONFLICT = 'since_conflict';

/**
 * Why this cannot be requested, if so. An invalid request would end the session for all channels.
 */
function problemOf(name: unknown, since: unknown): string | undefined {
  if (!/^[!-z|~]{1,255}$/.test(text(name) ?? '')) return 'bad_channel';
  return since === undefined || text(since)?.length! < 256 ? undefined : 'bad_since';
}

type ChannelStateEvent = ChannelEventOf<'subscribed' | 'recovering' | 'refused' | 'pending'>;

const isStateEvent = (event: ChannelEvent): event is ChannelStateEvent =>
  /^(su|ref|pen)|ring/.test(event.type);

/**
 * The state of a channel at the gateway. At most one request per channel is pending. From
 * `Subscribing` on the channel is subscribed at the gateway, or about to be.
 */
export const enum Wire {
  Off,
  Refused,
  Unsubscribing,
  Subscribing,
  Recovering,
  On,
}

/** One channel of a client, with all subscriptions that share it. */
export class Channel {
  /**
   * The position to resume from: that of the last event delivered to the app. Empty: it is lost.
   */
  cursor: string | undefined;
  /** The position of the message that is being delivered. */
  giving: string | undefined;
  /** How often the app has set the cursor. Messages from before that do not move it. */
  moves = 0;
  /** Whether the app has set the cursor since the last session began. */
  isGiven = false;
  /** The latest state event of the channel; none while it is not subscribed or not acknowledged. */
  lastState: ChannelStateEvent | undefined;
  wire = Wire.Off;
  /** The gateway's messages do not follow the app's position: unsubscribe and subscribe again. */
  isStale = false;
  /** The number of stored messages to begin with. */
  last = 0;
  readonly subscriptions = new Set<Subscription>();

  readonly name: string;
  readonly context: SubscriptionContext;

  constructor(name: string, context: SubscriptionContext) {
    this.name = name;
    this.context = context;
  }

  get isWanted(): boolean {
    return this.subscriptions.size > 0;
  }

  /** The session is always subscribed to it, and cannot unsubscribe. */
  get isFixed(): boolean {
    return this.context.own.includes(this.name);
  }

  /** Whether the session is to be subscribed to it. */
  get isKept(): boolean {
    return this.isWanted || this.isFixed;
  }

  get state(): SubscriptionState {
    return this.lastState?.type ?? 'pending';
  }

  /** Why it is refused, or why its request waits. */
  get reason(): string | undefined {
    return (this.lastState as { reason?: string } | undefined)?.reason;
  }

  /**
   * Delivers an event to the app. Then the cursor moves to the position of a message or a gap, unless
   * a listener has set it.
   */
  give(event: ChannelEvent): void {
    const { moves, lastState } = this;
    const { last, ...state }: any = event;
    const { message, presence = message?.at >= 0 && /^online:/.test(this.name) && message } = state;
    const position = /^[mg]/.test(event.type) ? text(state.position) : undefined;
    this.giving = position;
    if (isStateEvent(event)) this.lastState = state;
    // Later subscriptions start with the latest presence. The gateway reads it after an earlier edge.
    else if (lastState?.type === 'subscribed' && presence && !(presence.at < (lastState as any).presence?.at)) {
      this.lastState = { ...lastState, presence };
    }
    for (const subscription of [...this.subscriptions]) subscription.deliver(event);
    this.context.onEvent(event);
    this.giving = undefined;
    if (position && moves === this.moves) this.cursor = position;
  }

  /** The position belongs to another user. The app gets a gap before the channel continues. */
  forget(): void {
    if (this.cursor === undefined || this.isGiven) return;
    this.cursor = '';
    this.moves++;
  }

  /** Adds a subscription of the app. */
  subscribe(since: string | undefined, last: number, parse: Parser | undefined): Subscription {
    const isFirst = !this.isWanted;
    const isMoved =
      since === undefined
        ? // The channel is not unsubscribed yet. A fresh view does not continue from its position.
          isFirst && last > 0 && !this.isFixed && !!this.cursor
        : since !== (this.giving ?? this.cursor);
    // Other subscriptions continue from the cursor.
    if (isMoved && this.cursor && (this.isFixed || !isFirst)) return refused(this.name, SINCE_CONFLICT, this.context);
    const subscription = new Subscription(this, parse);
    this.subscriptions.add(subscription);
    this.last = Math.max(last, isFirst ? 0 : this.last);
    if (isMoved) {
      this.cursor = since;
      this.moves++;
      this.isGiven = true;
    }
    if (isFirst || isMoved) this.context.onWanted(this, isMoved);
    this.context.soon(() => subscription.greet());
    return subscription;
  }
}

/** Subscribes to a channel, or refuses only this request if it is invalid. */
export function subscribe(
  name: string,
  options: SubscribeOptions | null | undefined,
  context: SubscriptionContext,
  find: (name: string) => Channel,
): Subscription {
  const { since: from, last, parse, signal } = options ?? {};
  const since = from ?? undefined;
  const problem = problemOf(name, since);
  const subscription = problem
    ? refused(String(name), problem, context)
    : // An invalid number would end the session for all channels.
      find(name).subscribe(since, last! >>> 0, parse);
  return subscription.endWith(signal);
}

/** A subscription that is refused alone, on a channel of its own. */
function refused(name: string, reason: string, context: SubscriptionContext): Subscription {
  const channel = new Channel(name, context);
  const event: ChannelStateEvent = (channel.lastState = { type: 'refused', channel: name, reason });
  const subscription = new Subscription(channel);
  context.later(() => {
    if (subscription.state === 'closed') return;
    subscription.deliver(event);
    // The client's channel of this name is not refused.
    if (reason !== SINCE_CONFLICT) context.onEvent(event);
  });
  return subscription;
}

/** Checks a message, and returns what the listeners get. */
type Parser = (message: unknown) => unknown;

/**
 * A subscription of the app to a channel. Any number of them may share a channel; the client
 * unsubscribes from it when the last one is closed.
 */
export class Subscription<Message = any, Name extends string = string> extends Emitter<ChannelEvents<Message, Name>> {
  readonly #owner: Channel;
  readonly #parse: Parser | undefined;
  #isClosed = false;
  #isGreeted = false;
  #signal: AbortSignal | undefined;
  readonly #end = (): void => this.unsubscribe();

  /** @internal */
  constructor(owner: Channel, parse?: Parser) {
    super(owner.context.bufferSize);
    this.#owner = owner;
    this.#parse = parse;
  }

  /** The channel's name. */
  get channel(): Name {
    return this.#owner.name as Name;
  }

  /** The current state. */
  get state(): SubscriptionState {
    return this.#isClosed ? 'closed' : this.#owner.state;
  }

  /** The position of the last durable message delivered to the app, to pass as `since` later. */
  get position(): string | undefined {
    return this.#owner.cursor || undefined;
  }

  /**
   * All events from now on, in order. The iteration ends when the subscription is closed. It throws
   * BufferOverflow if the loop falls too far behind: unsubscribe, and subscribe again with the
   * position of the last message.
   */
  override [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent<Message, Name>> {
    const stream = super[Symbol.asyncIterator]();
    if (this.#isClosed) this.finish();
    return stream;
  }

  /** Closes the subscription. An event that is being delivered still reaches every listener. */
  unsubscribe(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.subscriptions.delete(this);
    this.#signal?.removeEventListener('abort', this.#end);
    this.finish();
    if (!this.#owner.isWanted) this.#owner.context.onWanted(this.#owner, false);
  }

  /** As `unsubscribe`, for `using`. */
  [Symbol.dispose](): void {
    this.unsubscribe();
  }

  /** @internal */
  endWith(signal: AbortSignal | undefined): this {
    this.#signal = signal;
    if (signal?.aborted) this.unsubscribe();
    signal?.addEventListener('abort', this.#end);
    return this;
  }

  /** @internal */
  override onThrown(error: unknown): void {
    this.#owner.context.onThrown(error);
  }

  /** @internal */
  deliver(event: ChannelEvent): void {
    if (!isStateEvent(event)) this.greet();
    this.#isGreeted = true;
    this.#emit(event);
  }

  /** @internal Delivers the state of the channel to a later subscription, once and first. */
  greet(): void {
    const { lastState, cursor, context } = this.#owner;
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    if (this.state === 'refused') context.later(() => this.#emit(lastState!));
    else if (lastState) this.#emit(lastState.type === 'subscribed' ? { ...lastState, position: cursor! } : lastState);
  }

  #emit(event: ChannelEvent): void {
    if (!this.#isClosed) this.tell(this.#parsed(event));
  }

  #parsed(event: ChannelEvent): ChannelEvent {
    if (event.type !== 'message' || !this.#parse) return event;
    try {
      return { ...event, message: this.#parse(event.message) };
    } catch (error) {
      this.onThrown(error);
      return { ...event, type: 'invalid', error };
    }
  }
}
