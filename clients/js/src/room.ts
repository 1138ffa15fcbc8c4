/** Who is in a room: its count, joins and leaves (op 14), and its members by page (op 15). */

import { GatewayError } from './errors.js';
import type { GatewayClientLike } from './options.js';
import { PresenceHandle } from './presence-handle.js';
import { number, Op, text } from './protocol.js';
import { Requests, whenSubscribed } from './requests.js';
import type { ChannelEvent } from './subscription.js';

/** The default timeout of a request, in milliseconds. */
const TIMEOUT_MS = 10_000;

/** A page of the members of a room. */
export interface MemberPage {
  /** The user ids, in byte order. */
  members: string[];
  /** Pass it as `after` to get the next page; `undefined` on the last page. */
  next: string | undefined;
}

/**
 * The error of a request. `code` is one of:
 *
 * - `not_allowed`: the namespace of the room has no members, or the session is not subscribed.
 * - `unavailable`: the gateway cannot read the members at the moment.
 * - `timeout`: the room was not subscribed, or the request not answered, in time.
 * - `disconnected`: the connection was lost before the answer.
 * - `closed`: the app has closed the room or the client.
 * - another reason of a refused subscription, or another code of op 9.
 */
export class PresenceError extends GatewayError {
  override name = 'PresenceError';
}

/** The strings of a list from the gateway. */
export const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];

const errorOf = (code: string, detail?: string): PresenceError => new PresenceError(code, detail);

/** The events of a RoomPresence. */
export type RoomEvents = {
  /** The subscription has begun, also after a reconnect: earlier joins and leaves were not reported. */
  subscribed: undefined;
  /** The count has changed, or is known again after a reconnect. */
  count: number;
  /** These users have joined. Not in large rooms, see `presence.max_members` of the gateway. */
  join: string[];
  /** These users have left. Not in large rooms. */
  leave: string[];
  /**
   * Load the members, if you need them: joins or leaves were not reported. It comes with the first
   * count, after the gateway's link to Redis was down, and in large rooms with each count.
   */
  reload: undefined;
  /** As on a subscription. */
  refused: { reason: string };
};

/** The options of a request for members. */
export interface MembersOptions {
  /** The page begins after this user: `next` of the page before. */
  after?: string | undefined;
  /**
   * The timeout in milliseconds: until the room is subscribed, and from the request to its answer.
   * Default 10000.
   */
  timeoutMs?: number | undefined;
}

/** Follows who is in a room. Any number of them share the channel's subscription with the app. */
export class RoomPresence extends PresenceHandle<RoomEvents> {
  readonly #client: GatewayClientLike;
  #count: number | undefined;
  #refusal: string | undefined;

  /** @internal */
  constructor(client: GatewayClientLike, channel: string) {
    super(client, channel);
    this.#client = client;
  }

  /** The channel of the room. */
  get channel(): string {
    return this.subscription.channel;
  }

  /**
   * The number of sessions, or of members if the namespace has members; `undefined` if it is not
   * known. While the client is disconnected, it is the last known count.
   */
  get count(): number | undefined {
    return this.subscription.state === 'closed' ? undefined : this.#count;
  }

  /**
   * A page of at most 100 members. It waits until the room is subscribed.
   *
   * @throws PresenceError. A request that is in flight when the connection breaks is not repeated.
   */
  async members({ after: from, timeoutMs = TIMEOUT_MS }: MembersOptions = {}): Promise<MemberPage> {
    await this.#subscribed(timeoutMs);
    const request = { op: Op.Members, channel: this.channel, after: from };
    const answer: any = await Requests.of(this.#client).send(request, timeoutMs, errorOf);
    return { members: strings(answer.members), next: text(answer.next) };
  }

  /**
   * All pages of members, each requested when the loop wants it.
   *
   * @throws PresenceError. To continue, pass `next` of the last page as `after`.
   */
  async *allMembers(options: MembersOptions = {}): AsyncGenerator<MemberPage, void, undefined> {
    let { after: from } = options;
    do {
      const page = await this.members({ ...options, after: from });
      yield page;
      from = page.next;
    } while (from !== undefined);
  }

  /** @internal */
  protected override read(event: ChannelEvent): Partial<RoomEvents> {
    const before = this.#count;
    if (event.type === 'subscribed') this.#count = countOf(event.presence);
    else if (event.type === 'presence') this.#count = countOf(event.presence) ?? before;
    else if (event.type === 'refused') this.#count = undefined;
    this.#refusal = event.type === 'refused' ? event.reason : undefined;
    const [join, leave] = event.type === 'presence' ? [strings(event.joined), strings(event.left)] : [[], []];
    const hasCount = 'presence' in event && countOf(event.presence) !== undefined;
    return {
      ...(event.type === 'subscribed' && { subscribed: undefined }),
      ...(this.#count !== undefined && this.#count !== before && { count: this.#count }),
      ...(join.length > 0 && { join }),
      ...(leave.length > 0 && { leave }),
      ...(hasCount && join.length + leave.length === 0 && { reload: undefined }),
      ...(event.type === 'refused' && { refused: { reason: event.reason } }),
    };
  }

  /** Waits until the gateway accepts requests for this room. */
  async #subscribed(timeoutMs: number): Promise<void> {
    // The listeners of a wait would not hear of an earlier refusal.
    if (this.subscription.state === 'refused' && this.#refusal !== undefined) throw errorOf(this.#refusal);
    if (this.subscription.state === 'subscribed') return;
    await whenSubscribed(this.#client, this.subscription, timeoutMs, errorOf, (listener) => this.onClose(listener));
  }
}

const countOf = (value: any): number | undefined => number(value?.count);

/** Follows who is in a room, in a namespace with presence. */
export function presence(client: GatewayClientLike, channel: string): RoomPresence {
  return new RoomPresence(client, channel);
}
