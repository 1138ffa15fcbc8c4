/// <reference lib="esnext.disposable" preserve="true" />
/** The state and the ends of a client, with or without a SharedWorker. */

import { Emitter } from './emitter.js';
import type { GatewayError } from './errors.js';
import type { ClientEvents, ErrorEvent } from './options.js';
import type { ClientState } from './state.js';

/** The common part of both clients. */
export abstract class ClientBase<Channels extends object> extends Emitter<ClientEvents<Channels>> {
  /** The current state. The event `state` reports each change. */
  state: ClientState = 'idle';
  /** The user of the session; `undefined` before the first Ready. */
  user: string | undefined;
  /** The time from the latest heartbeat to its answer, in milliseconds. */
  latencyMs: number | undefined;
  /** @internal Why it was closed or disconnected. The internal event `ready` reports it, and the state. */
  failure: GatewayError | undefined;

  /** Ends the connection, the subscriptions and the iterations. `connect` starts again without them. */
  abstract close(): void;

  /** @internal */
  abstract onError(where: ErrorEvent['where'], error: unknown): void;

  /**
   * Resolves when the client is connected: at once, if it is. Rejects with a GatewayError whose code is
   * `disconnected` or `closed`. A rejection need not be handled: the event `state` reports it too.
   */
  ready(): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (this.failure) reject(this.failure);
        else if (this.state === 'connected') resolve();
        else this.once('ready' as keyof ClientEvents<Channels>, check);
      };
      check();
    });
    promise.catch(() => {});
    return promise;
  }

  /** As `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** As `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  /** @internal */
  override onThrown(error: unknown): void {
    this.onError('listener', error);
  }
}
