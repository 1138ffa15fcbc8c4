/** What travels: the frames of version 2 of the gateway's protocol, and what each close code means for coming back. */

/** The frames' `op`. */
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
export interface Standing {
  channel: string;
  /** `recovering`: nothing is delivered until a Subscription says `subscribed`. */
  state?: 'subscribed' | 'recovering';
  /** The channel continues after this position. While it recovers: the position that was sent. */
  position?: string;
  /** Present when a position to continue from was sent: whether no durable message is missing. */
  recovered?: boolean;
}

/** A channel to be subscribed to, and where it was left. */
export interface ChannelRequest {
  channel: string;
  since?: string;
}

/** What Hello announces. A limit of 0 is none. */
export interface Limits {
  message_bytes: number;
  messages_per_minute: number;
}

/** Every frame that the gateway sends, by its `op`. Fields that are not used here are left out. */
export type ServerFrame =
  | { op: 0; heartbeat_interval: number; limits?: Limits }
  | { op: 2; user: string; expires_in?: number; channels: Standing[] }
  | { op: 3; channel: string; message: unknown; position?: string }
  | ({ op: 6 } & Standing & { state: 'subscribed' | 'recovering' })
  | { op: 6; state: 'unsubscribed' | 'refused'; channel: string; reason?: string }
  | { op: 7; after: number; reason: string }
  | { op: 8; channel: string; reason: string }
  | { op: 9; code: string; detail: string }
  | { op: 10; time: number }
  | { op: 11; time?: number }
  | { op: 13; expires_in?: number };

/**
 * What the client does after a socket was closed: come back; come back but wait the full back-off, whatever happens
 * meanwhile; come back spread out, with everybody else; come back with a new token; or not at all.
 */
export type Return = 'yes' | 'patiently' | 'spread' | 'new token' | 'never';

/** The table of close codes. A code that is not in it (1006: no Close at all) allows to come back. */
export function returnAfter(code: number): Return {
  switch (code) {
    case 4003: // the token is refused: only a login helps
    case 4010: // the backend has ended it
      return 'never';
    case 4007: // over the budget, or too many sessions
      return 'patiently';
    case 4009: // the token's expiry has come
      return 'new token';
    case 1001:
    case 1012: // the replica goes away, with all its clients
      return 'spread';
    default:
      return 'yes';
  }
}

/** The codes for an error in the client's frames. A retry gets the same code. */
export const OUR_FAULT = [1003, 1007, 1009, 4001];

/** A field of a frame, if it is a finite number. */
export const number = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value < Infinity ? value : undefined;

/** A field of a frame, if it is a string. */
export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** The URL with `v=2` in its query. Done on the text: React Native's URL cannot change a query. */
export function withVersion(url: string): string {
  if (!/^wss?:\/\/[^/?#]/i.test(url)) throw new TypeError('url must be ws: or wss:');
  const bare = url.split('#')[0]!;
  return bare + (bare.includes('?') ? '&' : '?') + 'v=2';
}
