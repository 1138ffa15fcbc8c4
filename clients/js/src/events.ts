/** The events of channels. */

import type { NameOf } from './channel-map.js';

/**
 * Why a channel may lack messages: the gateway's reason; `not_recovered`, because too much was missed
 * or the history is lost; or `since_conflict`, of a component in React.
 */
export type GapReason =
  | 'link_lost'
  | 'history_lost'
  | 'history_unreadable'
  | 'overflow'
  | 'not_recovered'
  | 'since_conflict'
  | (string & {});

/**
 * Why a channel is refused. The library itself reports `bad_channel`, `bad_since`, and
 * `since_conflict` (the channel is in use at another position).
 */
export type RefusedReason =
  | 'not_allowed'
  | 'too_many_subscriptions'
  | 'unavailable'
  | 'by_server'
  | 'bad_channel'
  | 'bad_since'
  | 'since_conflict'
  | (string & {});

/** An event of a channel. Events are delivered in the order in which they happen. */
export type ChannelEvent<Message = any, Channel extends string = string> =
  /** A message. Only a durable message has a position; pass it as `since` to resume after it. */
  | { type: 'message'; channel: Channel; message: Message; position?: string }
  /**
   * A message that the parser of this subscription refused, in place of `message`: `error` is what
   * the parser threw. The position moves past it.
   */
  | { type: 'invalid'; channel: Channel; message: unknown; error: unknown; position?: string }
  /**
   * The gateway cannot read the history at the moment. The channel is silent until `subscribed`;
   * nothing is lost.
   */
  | { type: 'recovering'; channel: Channel }
  /**
   * New messages arrive from now on. The event comes again after each reconnect. With `last`, a fresh
   * view begins: this number of stored messages comes first, in place of what the app has.
   */
  | { type: 'subscribed'; channel: Channel; position: string; presence?: ChannelPresence; last?: number }
  /**
   * After a reconnect: no durable message is missing. The missed messages follow as ordinary
   * messages.
   */
  | { type: 'recovered'; channel: Channel; position: string }
  /**
   * Messages may be missing here: load the current data. `position`, if it is known, is where the
   * channel continues. With `last`, a fresh view has begun, and its messages follow.
   */
  | { type: 'gap'; channel: Channel; reason: GapReason; position?: string; last?: number }
  /**
   * The client has sent as many messages as the gateway allows in a minute, and requests the channel
   * after this time.
   */
  | { type: 'pending'; channel: Channel; reason: 'rate_limited'; retryInMs: number }
  /** The channel is not allowed, is no longer allowed, or cannot be requested. */
  | { type: 'refused'; channel: Channel; reason: RefusedReason }
  /**
   * The number of sessions or members of a room, and the members that have joined or left. Only in
   * namespaces with presence.
   */
  | { type: 'presence'; channel: Channel; presence: { count: number }; joined?: string[]; left?: string[] }
  /** A signal of another session, such as "is typing". It is not stored, and may be lost. */
  | { type: 'signal'; channel: Channel; user: string; signal: any };

/**
 * The state of `online:<user>`, or of a room. Only where the gateway keeps presence; the entry point
 * `presence` reads it.
 */
export type ChannelPresence = { online: boolean; at: number } | { count: number };

/** The channel event of one type. */
export type ChannelEventOf<
  Type extends ChannelEvent['type'],
  Message = any,
  Channel extends string = string,
> = Extract<ChannelEvent<Message, Channel>, { type: Type }>;

/** The types of channel events, and `event` for all of them. */
export type ChannelEvents<Message = any, Channel extends string = string> = {
  [Type in ChannelEvent['type']]: ChannelEventOf<Type, Message, Channel>;
} & { event: ChannelEvent<Message, Channel> };

/** The events of all channels of a client with these types of messages. */
export type AnyChannelEvent<Channels extends object> = {
  [Pattern in keyof Channels & string]: ChannelEvent<Channels[Pattern], NameOf<Pattern>>;
}[keyof Channels & string];
