/**
 * The messages of a client that are not acknowledged yet (op 16). They are sent one at a time, so
 * their order is kept, and repeated with the same id until the gateway answers.
 */

import { Backoff } from './backoff.js';
import { MessageError } from './message-error.js';
import type { GatewayClientLike, RequestingClient, StateEvent } from './options.js';
import { CLIENT_ERRORS, number, Op, text, type Requester, type ServerFrame } from './protocol.js';
import { after, randomId } from './requests.js';

/** Without an answer for this long, a message is repeated. Milliseconds. */
const ANSWER_MS = 30_000;
/** The wait after `busy` without a time. Milliseconds. */
const BUSY_MS = 1_000;
/** The answers after which a message is repeated with a back-off. */
const TEMPORARY = ['unavailable', 'rate_limited'];

/** A message to send. */
export interface Outgoing {
  id: string;
  channel: string;
  message: unknown;
  /** How long after the first attempt it may be repeated, in milliseconds. */
  repeatMs: number;
  resolve(id: string): void;
  reject(error: unknown): void;
}

interface Waiting extends Outgoing {
  /** The user who wrote it, if known. Ids are unique for each user. */
  user: string | undefined;
  /** An attempt was not answered, so the gateway may have stored it. */
  mayBeStored: boolean;
  /** The time of the first attempt that was not answered. */
  sentAt: number;
}

/** The outbox of each client. */
const all = new WeakMap<GatewayClientLike, Outbox>();

/** The messages of one client that wait, oldest first. */
export class Outbox implements Requester {
  readonly #client: RequestingClient;
  readonly #waiting: Waiting[] = [];
  readonly #backoff = new Backoff({}, Math.random);
  readonly #prefix = randomId();
  #count = 0;
  /** The user of the login; `undefined` until it is known. */
  #user: string | undefined;
  /** The first message was sent on this connection, and is not answered. */
  #isInFlight = false;
  /** `mayBeStored` of the first message before this attempt. */
  #wasUncertain = false;
  /** The gateway asked to wait. */
  #isPaused = false;
  #stopTimer = (): void => {};

  constructor(client: RequestingClient) {
    this.#client = client;
    if (client.state !== 'idle' && client.state !== 'closed') this.#user = client.user;
    client.on('state', (event) => this.#onState(event));
    client.ask(this);
  }

  static of(client: GatewayClientLike): Outbox {
    const outbox = all.get(client) ?? new Outbox(client as RequestingClient);
    all.set(client, outbox);
    return outbox;
  }

  /** The number of messages that wait for an acknowledgement. */
  get size(): number {
    return this.#waiting.length;
  }

  /** An id that no other message has, also of other tabs and page loads. */
  nextId(): string {
    return `${this.#prefix}-${(++this.#count).toString(36)}`;
  }

  /** Adds a message. The returned function removes it, whether it was sent or not. */
  add(outgoing: Outgoing): () => void {
    const waiting: Waiting = { ...outgoing, user: this.#user, mayBeStored: false, sentAt: 0 };
    this.#waiting.push(waiting);
    this.#sendNext();
    return () => {
      this.#remove(waiting);
      this.#sendNext();
    };
  }

  /** Messages are sent by `post`, because they do not count as messages of the session. */
  next(): undefined {}

  sent(): void {}

  take(frame: ServerFrame): void {
    const first = this.#waiting[0];
    if (!first || !('id' in frame) || frame.id !== first.id) return;
    if (frame.op === Op.Sent) {
      this.#backoff.tries = 0;
      this.#remove(first)?.resolve(first.id);
    } else if (frame.op === Op.Error) {
      const code = text(frame.code) ?? 'unknown';
      // Not stored by this attempt. `unavailable` does not say so.
      if (code !== 'unavailable') first.mayBeStored = this.#wasUncertain;
      // Clients that were told the same time spread over it.
      if (code === 'busy') return this.#pause((number(frame.after) ?? BUSY_MS) * (1 + Math.random() / 5));
      if (TEMPORARY.includes(code)) return this.#pause(this.#backoff.next());
      this.#fail(first, code, text(frame.detail));
    }
    this.#sendNext();
  }

  #onState({ state, code }: StateEvent): void {
    const [first] = this.#waiting;
    if (this.#isInFlight) this.#stopTimer();
    // Repeated, it would end each session: other messages would never be sent.
    if (first && this.#isInFlight && CLIENT_ERRORS.includes(code!)) this.#fail(first, code === 1009 ? 'too_big' : 'malformed');
    this.#isInFlight = false;
    if (state === 'connected') {
      this.#user = this.#client.user;
      this.#sendNext();
    } else if (state === 'closed') {
      this.#user = undefined;
      this.#isPaused = false;
      this.#stopTimer();
      for (const waiting of [...this.#waiting]) this.#fail(waiting, 'closed');
    }
  }

  #sendNext(): void {
    if (this.#client.state !== 'connected' || this.#isInFlight || this.#isPaused) return;
    const { user } = this.#client;
    for (let first; (first = this.#waiting[0]); ) {
      const { id, channel, message, repeatMs } = first;
      const now = Date.now();
      if (!first.mayBeStored) first.sentAt = now;
      if ((first.user ??= user) !== user) this.#fail(first, 'user_changed');
      else if (now - first.sentAt > repeatMs) this.#fail(first, 'unconfirmed');
      else {
        this.#wasUncertain = first.mayBeStored;
        first.mayBeStored = this.#isInFlight = true;
        this.#stopTimer = after(ANSWER_MS, () => this.#pause(this.#backoff.next()));
        return this.#client.post({ op: Op.Send, id, channel, message });
      }
    }
  }

  /** Repeats the first message later. */
  #pause(waitMs: number): void {
    this.#isInFlight = false;
    this.#isPaused = true;
    this.#stopTimer();
    this.#stopTimer = after(waitMs, () => {
      this.#isPaused = false;
      this.#sendNext();
    });
  }

  #fail(waiting: Waiting, code: string, detail?: string): void {
    const { id, mayBeStored } = waiting;
    this.#remove(waiting)?.reject(new MessageError(code, detail, id, mayBeStored));
  }

  /** Removes a message, if it still waits. The next one may be sent then. */
  #remove(waiting: Waiting): Waiting | undefined {
    const index = this.#waiting.indexOf(waiting);
    if (index < 0) return undefined;
    this.#waiting.splice(index, 1);
    if (index === 0 && this.#isInFlight) {
      this.#stopTimer();
      this.#isInFlight = false;
    }
    return waiting;
  }
}
