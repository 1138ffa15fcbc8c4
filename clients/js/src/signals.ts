/** Signals to the other sessions of a channel, such as "is typing" (op 18). */

import { Budget } from './budget.js';
import { isChannelName } from './message-error.js';
import type { GatewayClientLike, RequestingClient } from './options.js';
import { Op } from './protocol.js';
import { after } from './requests.js';
import { snapshot } from './snapshot.js';

/** At most one signal on a channel in this time, as `session.signal_interval`. Milliseconds. */
const INTERVAL_MS = 250;
/** The default of `session.signals_per_minute`. The client uses 80 % of it. */
const PER_MINUTE = 600;
/** The gateway refuses longer signals. A much longer one would end the session. */
const MAX_BYTES = 1_024;

/** The signals of each client. */
const all = new WeakMap<GatewayClientLike, Signals>();

/** The signals of one client. */
class Signals {
  readonly #client: RequestingClient;
  /** The channels with a signal in the last interval, and the newest one that waits, if there is one. */
  readonly #recent = new Map<string, [unknown] | undefined>();
  readonly #budget = new Budget(PER_MINUTE);

  constructor(client: RequestingClient) {
    this.#client = client;
    client.on('state', () => this.#recent.forEach((_, channel) => this.#recent.set(channel, undefined)));
  }

  static of(client: GatewayClientLike): Signals {
    const signals = all.get(client) ?? new Signals(client as RequestingClient);
    all.set(client, signals);
    return signals;
  }

  send(channel: string, signal: unknown): void {
    if (this.#client.state !== 'connected') return;
    if (this.#recent.has(channel)) return void this.#recent.set(channel, [signal]);
    const now = Date.now();
    if (this.#budget.wait(now) > 0) return;
    this.#budget.note(now);
    this.#recent.set(channel, undefined);
    this.#client.post({ op: Op.Signal, channel, signal });
    after(INTERVAL_MS, () => {
      const newest = this.#recent.get(channel);
      this.#recent.delete(channel);
      if (newest) this.send(channel, newest[0]);
    });
  }
}

/**
 * Sends a signal to the other sessions that are subscribed to a channel. It is not stored, may be
 * lost, and is dropped while the client is disconnected. At most one is sent in 250 ms on a channel:
 * a newer one replaces the one that waits. If the gateway refuses it, the client emits an `error`
 * event.
 *
 * @throws TypeError if the signal is not JSON, or longer than 1 KiB.
 */
export function signal(client: GatewayClientLike, channel: string, value: unknown): void {
  if (!isChannelName(channel)) throw new TypeError('not the name of a channel');
  Signals.of(client).send(channel, snapshot(value, MAX_BYTES));
}
