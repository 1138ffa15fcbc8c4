/** The stored messages of a channel, by page (op 19 and 20). */

import { MessageError } from './message-error.js';
import type { GatewayClientLike } from './options.js';
import { Op, text } from './protocol.js';
import { Requests, whenSubscribed } from './requests.js';

/** The default timeout of a request, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** The gateway's limit for a page. */
const MAX_MESSAGES = 100;

/** A stored message. */
export interface StoredMessage {
  position: string;
  message: any;
}

/** A page of the history of a channel. */
export interface HistoryPage {
  /** The messages in the order in which they were published. */
  messages: StoredMessage[];
  /** Whether there are earlier messages. */
  more: boolean;
  /** Pass it as `before` to get the page with the earlier messages; `undefined` on the first one. */
  before: string | undefined;
}

/** The options of a request for history. */
export interface HistoryOptions {
  /** The page ends before this position. Default: the end of the history. */
  before?: string | undefined;
  /** The number of messages, at most 100. Default 50. The gateway may return fewer. */
  limit?: number | undefined;
  /**
   * The timeout in milliseconds: until the channel is subscribed, and from the request to its answer.
   * Default 10000.
   */
  timeoutMs?: number | undefined;
}

const errorOf = (code: string, detail?: string): MessageError => new MessageError(code, detail);

/**
 * A page of the stored messages of a channel: the newest ones, or those before a position. It
 * subscribes to the channel while it runs, unless the app is subscribed already.
 *
 * @throws MessageError. A request that is in flight when the connection breaks is not repeated.
 */
export async function history(
  client: GatewayClientLike,
  channel: string,
  { before, limit, timeoutMs = TIMEOUT_MS }: HistoryOptions = {},
): Promise<HistoryPage> {
  const subscription = client.subscribe(channel);
  try {
    await whenSubscribed(client, subscription, timeoutMs, errorOf);
    // A value of another type would end the session.
    const wanted = { before: text(before), limit: Math.min(limit! >>> 0, MAX_MESSAGES) || undefined };
    const answer: any = await Requests.of(client).send({ op: Op.History, channel, ...wanted }, timeoutMs, errorOf);
    const messages = (Array.isArray(answer.messages) ? answer.messages : []).filter((one: any) => text(one?.position));
    const more = answer.more === true;
    return { messages, more, before: more ? messages[0]?.position : undefined };
  } finally {
    subscription.unsubscribe();
  }
}

/**
 * All pages of the history of a channel, the newest page first. Each is requested when the loop wants
 * it.
 *
 * @throws MessageError. To continue, pass `before` of the last page.
 */
export async function* allHistory(
  client: GatewayClientLike,
  channel: string,
  options: HistoryOptions = {},
): AsyncGenerator<HistoryPage, void, undefined> {
  let { before } = options;
  // Stays subscribed between the pages.
  const subscription = client.subscribe(channel);
  try {
    do {
      const page = await history(client, channel, { ...options, before });
      yield page;
      before = page.before;
    } while (before !== undefined);
  } finally {
    subscription.unsubscribe();
  }
}
