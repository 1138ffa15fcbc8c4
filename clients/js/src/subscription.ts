/** Channels and subscriptions as the app sees them: events and positions. */

import { Emitter, type Off } from './emitter.js';

/** An event of a channel. Events are delivered in the order in which they happen. */
export type ChannelEvent =
  /** A message. Only a durable message has a position; pass it as `since` to resume after it. */
  | { type: 'message'; channel: string; message: any; position?: string }
  /**
   * The gateway cannot read the history at the moment. The channel is silent until `subscribed`;
   * nothing is lost.
   */
  | { type: 'recovering'; channel: string }
  /**
   * New messages arrive from now on. The event comes again after each reconnect. With `last`, a fresh
   * view begins: this number of stored messages comes first, in place of what the app has.
   */
  | { type: 'subscribed'; channel: string; position: string; presence?: ChannelPresence; last?: number }
  /**
   * After a reconnect: no durable message is missing. The missed messages follow as ordinary
   * messages.
   */
  | { type: 'recovered'; channel: string; position: string }
  /**
   * Messages may be missing here: load the current data. `position`, if it is known, is where the
   * channel continues. The reason is the gateway's, or `not_recovered` (too much was missed, or the
   * history is lost). With `last`, a fresh view has begun, and its messages follow.
   */
  | { type: 'gap'; channel: string; reason: string; position?: string; last?: number }
  /**
   * The channel is not allowed, is no longer allowed, or cannot be requested. The reason is the
   * gateway's, or one of this library: `bad_channel`, `bad_since`, or `since_conflict` (the channel
   * is in use at another position).
   */
  | { type: 'refused'; channel: string; reason: string }
  /**
   * The number of sessions or members of a room, and the members that have joined or left. Only in
   * namespaces with presence.
   */
  | { type: 'presence'; channel: string; presence: { count: number }; joined?: string[]; left?: string[] }
  /** A signal of another session, such as "is typing". It is not stored, and may be lost. */
  | { type: 'signal'; channel: string; user: string; signal: any };

/**
 * The state of `online:<user>`, or of a room. Only where the gateway keeps presence; the entry point
 * `presence` reads it.
 */
export type ChannelPresence = { online: boolean; at: number } | { count: number };

/** The channel event of one type. */
export type ChannelEventOf<Type extends ChannelEvent['type']> = Extract<ChannelEvent, { type: Type }>;

/** The types of channel events, and `event` for all of them. */
export type ChannelEvents = { [Type in ChannelEvent['type']]: ChannelEventOf<Type> } & { event: ChannelEvent };

/**
 * The state of a subscription:
 *
 * - `pending`: not connected, or not answered yet.
 * - `recovering`: silent until the gateway can read the history.
 * - `subscribed`: messages arrive.
 * - `refused`: the event `refused` has the reason.
 * - `closed`: the app has unsubscribed.
 */
export type SubscriptionState = 'pending' | 'recovering' | 'subscribed' | 'refused' | 'closed';

/** The options of a subscription. */
export interface SubscribeOptions {
  /** The position to resume after. */
  since?: string | null | undefined;
  /**
   * Begin with this many of the newest stored messages, unless `since` says where to continue. The
   * gateway may allow fewer. If a reconnect finds messages missing, they are requested again.
   */
  last?: number | undefined;
}

/** The context that all subscriptions of a client share. */
export interface SubscriptionContext {
  /** The session's own channels. */
  own: string[];
  /** The number of events that `for await` may buffer. */
  bufferSize: number | undefined;
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
  if (typeof name !== 'string' || !/^[!-z|~]{1,255}$/.test(name)) return 'bad_channel';
  return since === undefined || (typeof since === 'string' && since.length < 256) ? undefined : 'bad_since';
}

type ChannelStateEvent = ChannelEventOf<'subscribed' | 'recovering' | 'refused'>;

const isStateEvent = (event: ChannelEvent): event is ChannelStateEvent =>
  ['subscribed', 'recovering', 'refused'].includes(event.type);

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

  /** Why it is refused, if it is. */
  get refusal(): string | undefined {
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
    const position = /^[mg]/.test(event.type) ? state.position : undefined;
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
  subscribe(since: string | undefined, last: number): Subscription {
    const isFirst = !this.isWanted;
    const isMoved =
      since === undefined
        ? // The channel is not unsubscribed yet. A fresh view does not continue from its position.
          isFirst && last > 0 && !this.isFixed && !!this.cursor
        : since !== (this.giving ?? this.cursor);
    // Other subscriptions continue from the cursor.
    if (isMoved && this.cursor && (this.isFixed || !isFirst)) return new Subscription(this, SINCE_CONFLICT);
    const subscription = new Subscription(this);
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
  const since = options?.since ?? undefined;
  const problem = problemOf(name, since);
  if (problem) return new Subscription(new Channel(String(name), context), problem);
  // An invalid number would end the session for all channels.
  return find(name).subscribe(since, options?.last! >>> 0);
}

/**
 * A subscription of the app to a channel. Any number of them may share a channel; the client
 * unsubscribes from it when the last one is closed.
 */
export class Subscription implements AsyncIterable<ChannelEvent> {
  readonly #owner: Channel;
  /** Why this subscription alone is refused, if it is. */
  readonly #refusal: string | undefined;
  readonly #emitter: Emitter<ChannelEvents>;
  #isClosed = false;
  #isGreeted = false;

  /** @internal */
  constructor(owner: Channel, refusal?: string) {
    this.#owner = owner;
    this.#refusal = refusal;
    const { context } = owner;
    this.#emitter = new Emitter(context.onThrown, context.bufferSize);
    if (refusal) context.later(() => this.#refuse(refusal));
  }

  /** The channel's name. */
  get channel(): string {
    return this.#owner.name;
  }

  /** The current state. */
  get state(): SubscriptionState {
    return this.#isClosed ? 'closed' : this.#refusal ? 'refused' : this.#owner.state;
  }

  /** The position of the last durable message delivered to the app, to pass as `since` later. */
  get position(): string | undefined {
    return (!this.#refusal && this.#owner.cursor) || undefined;
  }

  /**
   * Adds a listener for a type of event, or with `event` for all. The returned function removes it.
   */
  on<Type extends keyof ChannelEvents>(type: Type, listener: (event: ChannelEvents[Type]) => void): Off {
    return this.#emitter.on(type, listener);
  }

  /**
   * All events from now on, in order. The iteration ends when the subscription is closed. It throws
   * BufferOverflow if the loop falls too far behind: unsubscribe, and subscribe again with the
   * position of the last message.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent> {
    const stream = this.#emitter.stream();
    if (this.#isClosed) stream.finish();
    return stream;
  }

  /** Closes the subscription. An event that is being delivered still reaches every listener. */
  unsubscribe(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.subscriptions.delete(this);
    this.#emitter.finish();
    if (!this.#refusal && !this.#owner.isWanted) this.#owner.context.onWanted(this.#owner, false);
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
    if (lastState?.type === 'refused') context.later(() => this.#emit(lastState));
    else if (lastState) this.#emit(lastState.type === 'subscribed' ? { ...lastState, position: cursor! } : lastState);
  }

  #refuse(reason: string): void {
    if (this.#isClosed) return;
    const event: ChannelStateEvent & { type: 'refused' } = { type: 'refused', channel: this.channel, reason };
    this.#emit(event);
    if (reason !== SINCE_CONFLICT) this.#owner.context.onEvent(event);
  }

  #emit(event: ChannelEvent): void {
    if (!this.#isClosed) this.#emitter.tell(event);
  }
}
