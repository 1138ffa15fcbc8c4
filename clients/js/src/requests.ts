/** Requests for the members of a room (op 15): one queue for each client. */

import type { GatewayClientLike, RequestingClient } from './options.js';
import { Op, text, type Requester, type ServerFrame } from './protocol.js';

/** A request waits at most this long for the client's message budget, in milliseconds. */
const BUDGET_MS = 60_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

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
export class PresenceError extends Error {
  readonly code: string;

  constructor(code: string, detail = code) {
    super(detail || code);
    this.name = 'PresenceError';
    this.code = code;
  }
}

/** Calls `onTimeout` after a delay, unless the returned function is called before. */
export function after(delayMs: number, onTimeout: () => void): () => void {
  const timer = setTimeout(onTimeout, Math.min(delayMs, MAX_TIMER_MS));
  return () => clearTimeout(timer);
}

/** The strings of a list from the gateway. */
export const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];

interface Pending {
  frame: object;
  timeoutMs: number;
  isSent: boolean;
  stopTimer: () => void;
  resolve(page: MemberPage): void;
  reject(error: PresenceError): void;
}

/** The requests of one client. A request that is in flight when the connection ends is rejected. */
export class Requests implements Requester {
  readonly #client: RequestingClient;
  readonly #pending = new Map<string, Pending>();
  #count = 0;

  constructor(client: RequestingClient) {
    this.#client = client;
    client.on('state', ({ state }) => {
      if (state === 'connected') return;
      for (const id of [...this.#pending.keys()]) this.#fail(id, 'disconnected');
    });
  }

  /** The requests of a client, also if another copy of this module has created them. */
  static of(client: GatewayClientLike): Requests {
    const requesting = client as RequestingClient;
    return (requesting.ask() ?? requesting.ask(new Requests(requesting))) as Requests;
  }

  /** Asks for a page. The timeout starts again when the request is sent. */
  members(channel: string, from: string | undefined, timeoutMs: number): Promise<MemberPage> {
    return new Promise((resolve, reject) => {
      const id = `m${++this.#count}`;
      const frame = { op: Op.Members, id, channel, after: from };
      this.#pending.set(id, { frame, timeoutMs, isSent: false, stopTimer: () => {}, resolve, reject });
      this.#startTimer(id, BUDGET_MS + timeoutMs);
      this.#client.ask();
    });
  }

  next(isForwarded = false): object | undefined {
    for (const [id, request] of this.#pending) {
      if (request.isSent) continue;
      request.isSent = true;
      if (!isForwarded) this.sent(id);
      return request.frame;
    }
    return undefined;
  }

  sent(id: string): void {
    const request = this.#pending.get(id);
    if (request) this.#startTimer(id, request.timeoutMs);
  }

  take(frame: ServerFrame): void {
    if (frame.op !== Op.Members && frame.op !== Op.Error) return;
    const request = this.#settle(frame.id as string);
    if (frame.op === Op.Error) request?.reject(new PresenceError(text(frame.code) ?? 'unknown', text(frame.detail)));
    else request?.resolve({ members: strings(frame.members), next: text(frame.next) });
  }

  #startTimer(id: string, delayMs: number): void {
    const request = this.#pending.get(id)!;
    request.stopTimer();
    request.stopTimer = after(delayMs, () => this.#fail(id, 'timeout'));
  }

  #fail(id: string, code: string): void {
    this.#settle(id)?.reject(new PresenceError(code));
  }

  #settle(id: string): Pending | undefined {
    const request = this.#pending.get(id);
    request?.stopTimer();
    this.#pending.delete(id);
    return request;
  }
}
