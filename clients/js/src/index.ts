export { GatewayClient } from './client.js';
export { BufferOverflow, type Off } from './emitter.js';
export type { BackoffOptions } from './backoff.js';
export type { Socket, SocketConstructor } from './environment.js';
export type { ClientEvents, ClientOptions, ClientState, ErrorEvent, GatewayClientLike, StateEvent } from './options.js';
export { browserPresence, type Presence } from './visibility.js';
export type {
  ChannelEvent,
  ChannelEventOf,
  ChannelEvents,
  ChannelPresence,
  SubscribeOptions,
  Subscription,
  SubscriptionState,
} from './subscription.js';
export type { Token, TokenReason } from './token.js';
