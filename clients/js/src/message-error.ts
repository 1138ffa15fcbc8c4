/** The error of a message or of a request for history. */

import { GatewayError } from './errors.js';

/**
 * The error of `send`, `history` and `allHistory`. `code` is one of:
 *
 * - `not_allowed`: the namespace does not allow it, or the user may not use the channel.
 * - `bad_channel`: not a channel's name.
 * - `too_big`: the message is longer than the gateway allows.
 * - `queue_full`: too many messages of this client wait.
 * - `user_changed`: another user has logged in since the app called `send`.
 * - `unconfirmed`: the message was sent, and no acknowledgement came for so long that repeating it
 *   might store it twice.
 * - `malformed`: the gateway ended the session because of this message.
 * - `closed`: the client is closed.
 * - `unavailable`: the gateway cannot read the history at the moment.
 * - `timeout`: the channel was not subscribed, or the request not answered, in time.
 * - `disconnected`: the connection was lost before the answer to a request.
 * - another reason of a refused subscription, or another code of op 9.
 */
export class MessageError extends GatewayError {
  /** The id of the message. Pass it to `send` to try again without a duplicate. */
  readonly id: string | undefined;
  override name = 'MessageError';
  /** The gateway may have stored the message, because an attempt was not answered. */
  readonly mayBeStored: boolean;

  constructor(code: string, detail?: string, id?: string, mayBeStored = false) {
    super(code, detail);
    this.id = id;
    this.mayBeStored = mayBeStored;
  }
}

/** Whether this is a channel's name. A frame with another value would end the session. */
export const isChannelName = (name: unknown): name is string =>
  typeof name === 'string' && /^[!-z|~]{1,255}$/.test(name);
