/** Whether a user is online: the channel `online:<user>`. */

import type { GatewayClientLike } from './options.js';
import { PresenceHandle } from './presence-handle.js';
import { number } from './protocol.js';
import type { ChannelEvent } from './subscription.js';

/** The state of a user. */
export interface OnlineState {
  online: boolean;
  /** When it was read or has changed, by Redis' clock: Unix time in milliseconds. */
  at: number;
}

/** The events of an OnlineUser. */
export type OnlineEvents = {
  /** The user is online or is not any more, or the state is not known any more. */
  change: OnlineState | undefined;
  /** As on a subscription. */
  refused: { reason: string };
};

/** Follows whether a user is online. Any number of them share one subscription. */
export class OnlineUser extends PresenceHandle<OnlineEvents> {
  readonly user: string;
  #state: OnlineState | undefined;

  /** @internal */
  constructor(client: GatewayClientLike, user: string) {
    super(client, `online:${user}`);
    this.user = user;
  }

  /**
   * The latest state; `undefined` if it is not known: not subscribed yet, refused, closed, or the
   * gateway keeps no presence. While the client is disconnected, it is the last known state.
   */
  get state(): OnlineState | undefined {
    return this.subscription.state === 'closed' ? undefined : this.#state;
  }

  /** @internal */
  protected override read(event: ChannelEvent): Partial<OnlineEvents> {
    const before = this.#state;
    if (event.type === 'subscribed') this.#state = stateOf(event.presence);
    else if (event.type === 'refused') this.#state = undefined;
    else if (event.type === 'message') {
      const edge = stateOf(event.message);
      // The gateway has read the state after an earlier edge.
      if (edge && !(before && edge.at < before.at)) this.#state = edge;
    }
    return {
      ...(before?.online !== this.#state?.online && { change: this.#state }),
      ...(event.type === 'refused' && { refused: { reason: event.reason } }),
    };
  }
}

function stateOf(value: any): OnlineState | undefined {
  const [online, at] = [value?.online, number(value?.at)];
  return typeof online === 'boolean' && at !== undefined ? { online, at } : undefined;
}

/** Follows whether a user is online. The client needs to be allowed to subscribe to `online:<user>`. */
export function online(client: GatewayClientLike, user: string): OnlineUser {
  return new OnlineUser(client, user);
}
