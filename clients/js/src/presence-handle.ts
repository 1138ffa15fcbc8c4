/// <reference lib="esnext.disposable" preserve="true" />
/** The common part of `online` and `presence`: a subscription whose events are read in another way. */

import type { Off } from './emitter.js';
import type { GatewayClientLike } from './options.js';
import type { ChannelEvent, Subscription } from './subscription.js';

/** A subscription whose events become other events. */
export abstract class PresenceHandle<Events extends object> {
  /** @internal */
  readonly subscription: Subscription;
  /** The events that the latest event of the channel becomes. */
  #latest: Partial<Events> = {};
  readonly #onClose = new Set<() => void>();

  /** @internal */
  constructor(client: GatewayClientLike, channel: string) {
    this.subscription = client.subscribe(channel);
    // Added first, so that every listener finds the new state.
    this.subscription.on('event', (event) => (this.#latest = this.read(event)));
  }

  /** @internal Applies an event of the channel, and returns what it becomes. */
  protected abstract read(event: ChannelEvent): Partial<Events>;

  /** Adds a listener for a type of event. The returned function removes it. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): Off {
    return this.subscription.on('event', () => {
      if (type in this.#latest) listener(this.#latest[type] as Events[Type]);
    });
  }

  /** Ends it. The client unsubscribes from the channel if nothing else of the app uses it. */
  close(): void {
    this.subscription.unsubscribe();
    this.#onClose.forEach((listener) => listener());
  }

  /** @internal Calls a listener after `close`. */
  protected onClose(listener: () => void): Off {
    this.#onClose.add(listener);
    return () => this.#onClose.delete(listener);
  }

  /** As `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}
