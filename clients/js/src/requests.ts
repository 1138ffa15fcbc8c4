/** Requests with an id for pages: members of a room (op 15) and history (op 19). One queue for each client. */

import type { GatewayClientLike, RequestingClient } from './options.js';
import { Op, text, type Requester, type ServerFrame } from './protocol.js';
import type { Subscription } from './subscription.js';

/** A request waits at most this long for the client's message budget, in milliseconds. */
const BUDGET_MS = 60_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A random text of letters and digits, at least 20 long: unique among all tabs and page loads. */
export function randomId(): string {
  // React Native may have no `crypto`.
  const numbers: ArrayLike<number> = globalThis.crypto?.getRandomValues(new Uint32Array(4)) ?? [...'1234'].map(() => Math.random() * 2 ** 32);
  return Array.from(numbers, (one) => (one >>> 0).toString(36).padStart(7, '0')).join('');
}

/** Calls `onTimeout` after a delay, unless the returned function is called before. */
export function after(delayMs: number, onTimeout: () => void): () => void {
  const timer = setTimeout(onTimeout, Math.min(delayMs, MAX_TIMER_MS));
  return () => clearTimeout(timer);
}

/** The number of requests of a session that the gateway serves at once. */
export const MAX_IN_FLIGHT = 4;

type Answer = Extract<ServerFrame, { id: string }>;

interface Pending {
  frame: object;
  timeoutMs: number;
  isSent: boolean;
  stopTimer: () => void;
  resolve(answer: Answer): void;
  /** Rejects with this code. */
  fail(code: string, detail?: string): void;
}

/** The requests of each client. */
const all = new WeakMap<GatewayClientLike, Requests>();

/** The requests of one client. A request that is in flight when the connection ends is rejected. */
export class Requests implements Requester {
  readonly #client: RequestingClient;
  readonly #pending = new Map<string, Pending>();
  /** The ids of all requesters of a client differ, also those of several tabs. */
  readonly #prefix = randomId();
  #count = 0;

  constructor(client: RequestingClient) {
    this.#client = client;
    client.on('state', ({ state }) => {
      if (state === 'connected') return;
      for (const id of [...this.#pending.keys()]) this.#settle(id)?.fail('disconnected');
    });
    client.ask(this);
  }

  static of(client: GatewayClientLike): Requests {
    const requests = all.get(client) ?? new Requests(client as RequestingClient);
    all.set(client, requests);
    return requests;
  }

  /**
   * Sends a request, and resolves with its answer. The timeout starts again when the request is sent.
   * `errorOf` makes the error for a code.
   */
  send(request: object, timeoutMs: number, errorOf: (code: string, detail?: string) => Error): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const id = `${this.#prefix}${++this.#count}`;
      const fail = (code: string, detail?: string) => reject(errorOf(code, detail));
      const frame = { ...request, id };
      this.#pending.set(id, { frame, timeoutMs, isSent: false, stopTimer: () => {}, resolve, fail });
      this.#startTimer(id, BUDGET_MS + timeoutMs);
      this.#client.ask();
    });
  }

  next(isForwarded = false): object | undefined {
    let inFlight = 0;
    for (const [id, request] of this.#pending) {
      if (request.isSent) inFlight++;
      // A worker counts the requests of all tabs.
      if (!isForwarded && inFlight === MAX_IN_FLIGHT) break;
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
    if (!('id' in frame)) return;
    const request = this.#settle(frame.id as string);
    if (frame.op === Op.Error) request?.fail(text(frame.code) ?? 'unknown', text(frame.detail));
    else request?.resolve(frame as Answer);
    // The next one may be sent.
    if (request) this.#client.ask();
  }

  #startTimer(id: string, delayMs: number): void {
    const request = this.#pending.get(id)!;
    request.stopTimer();
    request.stopTimer = after(delayMs, () => this.#settle(id)?.fail('timeout'));
  }

  #settle(id: string): Pending | undefined {
    const request = this.#pending.get(id);
    request?.stopTimer();
    this.#pending.delete(id);
    return request;
  }
}

/** Stops a wait. */
type Stop = () => void;

/**
 * Waits until the gateway accepts requests for the channel of a subscription. Rejects with the error
 * of `errorOf` if it is refused or closed, or after the timeout. `onClose` adds a listener for the end
 * of the subscription, which is no event of it.
 */
export async function whenSubscribed(
  client: GatewayClientLike,
  subscription: Subscription,
  timeoutMs: number,
  errorOf: (code: string) => Error,
  onClose: (listener: () => void) => Stop = () => () => {},
): Promise<void> {
  let stop: Stop = () => {};
  const done = new Promise<void>((resolve, reject) => {
    const check = () => {
      const { state } = subscription;
      if (state === 'subscribed') resolve();
      else if (state === 'closed') reject(errorOf('closed'));
    };
    const offs = [
      subscription.on('event', (event) => (event.type === 'refused' ? reject(errorOf(event.reason)) : check())),
      client.on('state', check),
      onClose(check),
      after(timeoutMs, () => reject(errorOf('timeout'))),
    ];
    stop = () => offs.forEach((off) => off());
    check();
  });
  return done.finally(() => stop());
}
