/** Sends messages to the backend. */

import { isChannelName, MessageError } from './message-error.js';
import type { GatewayClientLike } from './options.js';
import { Outbox } from './outbox.js';
import { snapshot } from './snapshot.js';

/** The options of `send`. */
export interface SendOptions {
  /**
   * Gives up: `send` rejects with the signal's reason, and the message is not repeated. If it was sent
   * before, the gateway may store it.
   */
  signal?: AbortSignal | undefined;
  /**
   * The id of the message: 1 to 64 printable ASCII characters without space. The gateway stores a
   * message of a user with the same id once. Pass the id of an earlier attempt to try again.
   */
  id?: string | undefined;
  /** If this many messages of the client wait, `send` rejects with `queue_full`. Default 100. */
  maxQueued?: number | undefined;
  /**
   * How long a message is repeated after its first attempt. It must be shorter than the gateway's
   * `broker.idempotency_window`. Milliseconds, default 540000 (9 minutes).
   */
  repeatMs?: number | undefined;
}

/**
 * Sends a message on a channel to the backend, and resolves with its id when the gateway has stored
 * it. The messages of a client are sent in order. A message is repeated with its id after a reconnect
 * and when the gateway is busy or unavailable.
 *
 * @throws MessageError, or the reason of the abort signal.
 */
export function send(
  client: GatewayClientLike,
  channel: string,
  message: unknown,
  options: SendOptions = {},
): Promise<string> {
  const { signal, maxQueued = 100, repeatMs = 540_000 } = options;
  return new Promise<string>((resolve, reject) => {
    const outbox = Outbox.of(client);
    const id = options.id ?? outbox.nextId();
    const refuse = (code: string) => reject(new MessageError(code, code, id));
    if (typeof id !== 'string' || !/^[!-~]{1,64}$/.test(id)) throw new TypeError('id is not a text of 1 to 64 characters');
    const copy = snapshot(message);
    if (!isChannelName(channel)) return refuse('bad_channel');
    if (signal?.aborted) return reject(signal.reason);
    if (client.state === 'closed') return refuse('closed');
    if (outbox.size >= maxQueued) return refuse('queue_full');
    const onAbort = () => {
      reject(signal?.reason);
      remove();
    };
    const stop = () => signal?.removeEventListener('abort', onAbort);
    signal?.addEventListener('abort', onAbort);
    const remove = outbox.add({
      id,
      channel,
      message: copy,
      repeatMs,
      resolve: (sent) => {
        stop();
        resolve(sent);
      },
      reject: (error) => {
        stop();
        reject(error);
      },
    });
  });
}

/** The number of messages of a client that wait for an acknowledgement. */
export const queued = (client: GatewayClientLike): number => Outbox.of(client).size;
