/** A channel as the app sees it: what it hears, and where it is. */

import { Emitter, type Off } from './emitter.js';

/** What can happen on a channel, in the order in which it happens. */
export type ChannelEvent =
  /** A message. A durable one has a position: `since` continues after it. */
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
  /**
   * The channel is not (or no longer) allowed, or cannot be asked for. The reason is the gateway's, or one of this
   * library: `bad_channel`, `bad_since`, or `since_conflict` (others are on the channel, at another position).
   */
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
  /** An event on any channel. */
  onEvent(event: ChannelEvent): void;
  /** A channel has its first subscription, has lost its last one, or was given another position to continue from. */
  onWanted(channel: Channel, isMoved: boolean): void;
  /** Runs a task in a later turn of the event loop, so that the app can add listeners first. */
  later(task: () => void): void;
  /** Runs a task after this turn, in the client's order of events. */
  soon(task: () => void): void;
}

/** The refusal of a subscription whose `since` differs from the channel's position. */
export const SINCE_CONFLICT = 'since_conflict';

/** The reason why this cannot be requested, if any. One invalid request would end the session for all channels. */
function problemOf(name: unknown, since: unknown): string | undefined {
  if (typeof name !== 'string' || !/^[!-z|~]{1,255}$/.test(name)) return 'bad_channel';
  return since === undefined || (typeof since === 'string' && since.length < 256) ? undefined : 'bad_since';
}

type StandingEvent = ChannelEventOf<'subscribed' | 'recovering' | 'refused'>;

const isStanding = (event: ChannelEvent): event is StandingEvent =>
  ['subscribed', 'recovering', 'refused'].includes(event.type);

/** The state of a channel at the gateway. At most one request per channel is pending. */
export type Wire = 'off' | 'subscribing' | 'recovering' | 'on' | 'unsubscribing' | 'refused';

/** One channel of a client, with all the subscriptions that share it. */
export class Channel {
  /** The position after the last event delivered to the app, to continue from. Empty: it is lost. */
  cursor: string | undefined;
  /** The position of the message that is being delivered. */
  giving: string | undefined;
  /** How often the app has set the cursor. Earlier messages do not move it. */
  moves = 0;
  /** The app has set the cursor since the last session began. */
  isGiven = false;
  /** The latest state event of the channel; none while it is not subscribed or not acknowledged. */
  standing: StandingEvent | undefined;
  wire: Wire = 'off';
  /** The session is always subscribed to it, and cannot leave it. */
  isOwn = false;
  /** The gateway's messages do not continue from the app's position: leave the channel and subscribe again. */
  isStale = false;
  readonly subscriptions = new Set<Subscription>();

  constructor(
    readonly name: string,
    readonly context: SubscriptionContext,
  ) {}

  get isWanted(): boolean {
    return this.subscriptions.size > 0;
  }

  get state(): SubscriptionState {
    return this.standing?.type ?? 'pending';
  }

  /** Why it is refused, where it is. */
  get refusal(): string | undefined {
    return this.standing?.type === 'refused' ? this.standing.reason : undefined;
  }

  /** Delivers an event to the app. Then the cursor moves to `position`, unless a listener has set it. */
  give(event: ChannelEvent, position?: string): void {
    const { moves } = this;
    this.giving = position;
    if (isStanding(event)) this.standing = event;
    for (const subscription of [...this.subscriptions]) subscription.deliver(event);
    this.context.onEvent(event);
    this.giving = undefined;
    if (position && moves === this.moves) this.cursor = position;
  }

  /** The position was another user's. The app gets a gap before the channel continues. */
  forget(): void {
    if (this.cursor === undefined || this.isGiven) return;
    this.cursor = '';
    this.moves++;
  }

  /** Another part of the app wants this channel. */
  subscribe(since: string | undefined): Subscription {
    const isFirst = !this.isWanted;
    const isMoved = since !== undefined && since !== (this.giving ?? this.cursor);
    // Other subscriptions continue from the cursor.
    if (isMoved && this.cursor && (this.isOwn || !isFirst)) return new Subscription(this, SINCE_CONFLICT);
    const subscription = new Subscription(this);
    this.subscriptions.add(subscription);
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
  options: { since?: string | null | undefined } | null | undefined,
  context: SubscriptionContext,
  find: (name: string) => Channel,
): Subscription {
  const since = options?.since ?? undefined;
  const problem = problemOf(name, since);
  return problem ? new Subscription(new Channel(String(name), context), problem) : find(name).subscribe(since);
}

/** One part of the app that listens to a channel. The channel is left when the last one is closed. */
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
    this.#emitter = new Emitter((error) => context.onThrown(error));
    if (refusal) context.later(() => this.#refuse(refusal));
  }

  /** The channel's name. */
  get channel(): string {
    return this.#owner.name;
  }

  get state(): SubscriptionState {
    return this.#isClosed ? 'closed' : this.#refusal ? 'refused' : this.#owner.state;
  }

  /** The position of the last durable message delivered to the app, for a later `since`. */
  get position(): string | undefined {
    return (!this.#refusal && this.#owner.cursor) || undefined;
  }

  /** Calls back for each event of a type, or for `event`: all of them. Returns what takes the listener away. */
  on<Type extends keyof ChannelEvents>(type: Type, listener: (event: ChannelEvents[Type]) => void): Off {
    return this.#emitter.on(type, listener);
  }

  /**
   * All events from now on, in order. It ends when the subscription is closed, and with BufferOverflow when the loop
   * falls too far behind: unsubscribe, and subscribe again with the position of the last message that you had.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelEvent> {
    const stream = this.#emitter.stream(this.#owner.context.bufferSize);
    if (this.#isClosed) stream.finish();
    return stream;
  }

  /** Stops listening. An event that is being delivered still reaches every listener. */
  unsubscribe(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#owner.subscriptions.delete(this);
    this.#emitter.finish();
    if (!this.#refusal && !this.#owner.isWanted) this.#owner.context.onWanted(this.#owner, false);
  }

  /** @internal */
  deliver(event: ChannelEvent): void {
    if (!isStanding(event)) this.greet();
    this.#isGreeted = true;
    this.#emit(event);
  }

  /** @internal Delivers the state of the channel to a later subscription, once and first. */
  greet(): void {
    const { standing, cursor, context } = this.#owner;
    if (this.#isGreeted) return;
    this.#isGreeted = true;
    if (standing?.type === 'refused') context.later(() => this.#emit(standing));
    else if (standing) this.#emit(standing.type === 'subscribed' ? { ...standing, position: cursor! } : standing);
  }

  #refuse(reason: string): void {
    if (this.#isClosed) return;
    const event: StandingEvent & { type: 'refused' } = { type: 'refused', channel: this.channel, reason };
    this.#emit(event);
    if (reason !== SINCE_CONFLICT) this.#owner.context.onEvent(event);
  }

  #emit(event: ChannelEvent): void {
    if (!this.#isClosed) this.#emitter.tell(event);
  }
}
