/** The frames of version 2 of the gateway's protocol, and the reconnect rule of each close code. */

/** The type of a frame, its field `op`. */
export const enum Op {
  Hello = 0,
  Identify = 1,
  Ready = 2,
  Message = 3,
  Subscribe = 4,
  Unsubscribe = 5,
  Subscription = 6,
  Reconnect = 7,
  Gap = 8,
  Error = 9,
  Heartbeat = 10,
  HeartbeatAck = 11,
  Refresh = 12,
  Refreshed = 13,
  Presence = 14,
  Members = 15,
  Send = 16,
  Sent = 17,
  Signal = 18,
  History = 19,
  Page = 20,
}

/** The state of a channel in Ready and Subscription. Ready omits the state `subscribed`. */
export interface ChannelState {
  op?: 6;
  channel: string;
  /** `recovering`: no message comes before a Subscription that says `subscribed`. */
  state?: 'subscribed' | 'recovering';
  /**
   * The channel continues after this position. While it is recovering: the `since` of the client.
   */
  position: string;
  /** Present if the client sent `since`: whether no durable message is missing. */
  recovered?: boolean;
  /** Of `online:<user>`, while presence is on: the state of the user. */
  presence?: { online: boolean; at: number };
  /** Present if the client asked for `last` and `since` did not decide: how many stored messages follow. */
  last?: number;
}

/** The state of one channel in Subscription. */
export type SubscriptionAnswer =
  | (ChannelState & { state: 'subscribed' | 'recovering' })
  | { state: 'unsubscribed' | 'refused'; channel: string; reason?: string };

/** A channel to subscribe to, and the position to resume from. */
export interface ChannelRequest {
  channel: string;
  since: string | undefined;
  /** The number of stored messages to begin with, if there is no `since`. */
  last: number | undefined;
}

/** The limits in Hello. 0 means no limit. */
export interface Limits {
  message_bytes: number;
  messages_per_minute: number;
}

/**
 * Every frame that the gateway sends, by its `op`. Fields that the library does not use are
 * omitted.
 */
export type ServerFrame =
  | { op: 0; heartbeat_interval: number; limits?: Limits }
  | { op: 2; user: string; expires_in?: number; channels: ChannelState[] }
  | { op: 3; channel: string; message: unknown; position?: string }
  | ({ op: 6 } & SubscriptionAnswer)
  /** The answer to a request for several channels. */
  | { op: 6; channels: SubscriptionAnswer[] }
  | { op: 7; after: number; reason: string }
  | { op: 8; channel: string; reason: string }
  /** `id` is that of the request that failed, if the error answers one with an id. */
  | { op: 9; code: string; detail: string; id?: string; after?: number }
  | { op: 10; time: number }
  | { op: 11; time?: number }
  | { op: 13; expires_in?: number }
  | { op: 14; channel: string; count: number; joined?: string[]; left?: string[] }
  | { op: 15; id: string; channel: string; members: string[]; next?: string }
  | { op: 17; id: string }
  | { op: 18; channel: string; user: string; signal: unknown }
  | { op: 20; id: string; channel: string; messages: Array<{ position: string; message: unknown }>; more: boolean };

/** A part of the library that sends requests with an id. It is loaded only by apps that use it. */
export interface Requester {
  /**
   * The next request to send, if there is one. It counts as sent, unless it is forwarded: then `sent`
   * follows.
   */
  next(isForwarded?: boolean): object | undefined;
  /** A forwarded request was sent. */
  sent(id: string): void;
  /** A frame with an id: an answer, or op 9. It may be for another requester. */
  take(frame: ServerFrame): void;
}

/**
 * What the client does after a close: reconnect; reconnect after at least half of the maximum wait,
 * also if it is woken; reconnect with a spread, because all clients of a replica do; reconnect with
 * a new token; or stay closed.
 */
export const enum ReconnectRule {
  Never,
  NewToken,
  Yes,
  LongWait,
  Spread,
}

/** The rule of a close code. Any other code (such as 1006, no Close) allows a reconnect. */
export const RECONNECT_RULES: Record<number, ReconnectRule> = {
  1001: ReconnectRule.Spread,
  1012: ReconnectRule.Spread, // the replica is draining
  4003: ReconnectRule.Never, // the token is refused
  4007: ReconnectRule.LongWait, // over a limit
  4009: ReconnectRule.NewToken, // the token has expired
  4010: ReconnectRule.Never, // the backend ended the session
};

/** The codes for an error in the client's frames. A retry gets the same code. */
export const CLIENT_ERRORS = [1003, 1007, 1009, 4001];

/** A field of a frame, if it is a finite number of at least 0. */
export const number = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value < Infinity ? value : undefined;

/** A field of a frame, if it is a string. */
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/**
 * The URL with `v=2` in its query. It edits the text, because React Native's URL cannot change a
 * query.
 */
export function withVersion(url: string): string {
  if (!/^wss?:\/\/[^/?#]/i.test(url)) throw new TypeError('url is not ws: or wss:');
  const bare = url.split('#')[0]!;
  return bare + (bare.includes('?') ? '&' : '?') + 'v=2';
}
