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
}

/** The state of a channel in Ready and Subscription. Ready omits the state `subscribed`. */
export interface ChannelState {
  channel: string;
  /** `recovering`: no message comes before a Subscription that says `subscribed`. */
  state?: 'subscribed' | 'recovering';
  /**
   * The channel continues after this position. While it is recovering: the `since` of the client.
   */
  position?: string;
  /** Present if the client sent `since`: whether no durable message is missing. */
  recovered?: boolean;
}

/** A channel to subscribe to, and the position to resume from. */
export interface ChannelRequest {
  channel: string;
  since?: string;
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
  | ({ op: 6 } & ChannelState & { state: 'subscribed' | 'recovering' })
  | { op: 6; state: 'unsubscribed' | 'refused'; channel: string; reason?: string }
  | { op: 7; after: number; reason: string }
  | { op: 8; channel: string; reason: string }
  | { op: 9; code: string; detail: string }
  | { op: 10; time: number }
  | { op: 11; time?: number }
  | { op: 13; expires_in?: number };

/**
 * What the client does after a close: reconnect; reconnect after at least half of the maximum wait,
 * also if it is woken; reconnect with a spread, because all clients of a replica do; reconnect with
 * a new token; or stay closed.
 */
export type ReconnectRule = 'yes' | 'long wait' | 'spread' | 'new token' | 'never';

/** The rule of a close code. Any other code (such as 1006, no Close) allows a reconnect. */
export function reconnectRule(code: number): ReconnectRule {
  switch (code) {
    case 4003: // the token is refused
    case 4010: // the backend ended the session
      return 'never';
    case 4007: // over a limit
      return 'long wait';
    case 4009: // the token has expired
      return 'new token';
    case 1001:
    case 1012: // the replica is draining
      return 'spread';
    default:
      return 'yes';
  }
}

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
  if (!/^wss?:\/\/[^/?#]/i.test(url)) throw new TypeError('url must be ws: or wss:');
  const bare = url.split('#')[0]!;
  return bare + (bare.includes('?') ? '&' : '?') + 'v=2';
}
