/** The life of one socket, from its opening to its end. It never comes back: the next one is another Connection. */

import { Budget } from './budget.js';
import { Timer, type Environment, type Socket } from './environment.js';
import { number, Op, text, type ChannelRequest, type ServerFrame } from './protocol.js';

/** How a socket ended. */
export interface Ending {
  /** The close code; 1006 where there was no Close. */
  code: number;
  reason: string;
  /** What the WebSocket said about it. Browsers say nothing. */
  error?: unknown;
  /** The gateway said when to come back (op 7): so many milliseconds from now. */
  afterMs?: number;
}

/** What happens on a connection. Nothing is told after `onEnd`. */
export interface ConnectionEvents {
  /** The channels to identify with, in as many bytes. */
  identify(maxBytes: number): ChannelRequest[];
  onReady(frame: Extract<ServerFrame, { op: 2 }>): void;
  onFrame(frame: Extract<ServerFrame, { op: 3 | 6 | 8 }>): void;
  onSoftError(code: string, detail: string): void;
  onRefreshed(expiresInMs: number | undefined): void;
  onLatency(latencyMs: number): void;
  onEnd(ending: Ending): void;
}

/** How long a connection waits. */
export interface Patience {
  /** From the opening to Ready, in milliseconds. */
  connectMs: number;
  /** For the answer to a heartbeat, in milliseconds. */
  heartbeatMs: number;
}

/** The time between heartbeats where the gateway does not say it, in milliseconds. */
const DEFAULT_BEAT_MS = 45_000;
/** Our own heartbeats are no closer together than this, in milliseconds: each costs a part of the budget. */
const MIN_BEAT_MS = 15_000;
/** Room in the longest message for Identify's other parts, in bytes. */
const IDENTIFY_MARGIN = 256;

export class Connection {
  readonly #token: string;
  readonly #patience: Patience;
  readonly #environment: Environment;
  readonly #events: ConnectionEvents;
  /** What may be sent; known after Hello. */
  budget = new Budget(1);
  isReady = false;
  #isIdentified = false;
  readonly #socket: Socket;
  readonly #deadline: Timer;
  readonly #beat: Timer;
  readonly #answer: Timer;
  #beatEveryMs = 0;
  #lastSeen = 0;
  /** When the gateway wants us back, after op 7. */
  #comeBackAt: number | undefined;
  #isOver = false;
  /** A further probe was asked for while an answer was awaited. */
  #asksAgain = false;
  #error: unknown;

  /**
   * @param enqueue puts what the socket says behind the events that wait to be delivered.
   * @throws whatever the WebSocket constructor throws.
   */
  constructor(
    url: string,
    token: string,
    patience: Patience,
    environment: Environment,
    enqueue: (task: () => void) => void,
    events: ConnectionEvents,
  ) {
    this.#token = token;
    this.#patience = patience;
    this.#environment = environment;
    this.#events = events;
    this.#deadline = new Timer(environment);
    this.#beat = new Timer(environment);
    this.#answer = new Timer(environment);
    if (!environment.WebSocket) throw new TypeError('there is no WebSocket here: give one as an option');
    this.#socket = new environment.WebSocket(url);
    this.#socket.onmessage = ({ data }) => {
      this.#lastSeen = environment.now();
      enqueue(() => this.#onMessage(data));
    };
    this.#socket.onclose = ({ code, reason }) => enqueue(() => this.#onClose(code ?? 1006, reason));
    // Always followed by close.
    this.#socket.onerror = (event) => (this.#error = event?.error ?? event?.message);
    this.#deadline.set(patience.connectMs, () => this.drop('not ready in time'));
  }

  /** Sends one frame, and counts it. */
  send(frame: object): void {
    if (this.#isOver) return;
    this.budget.note(this.#environment.now());
    try {
      this.#socket.send(JSON.stringify(frame));
    } catch {
      this.drop('cannot send');
    }
  }

  /** Asks the gateway for a sign of life, which also tells how far away it is. */
  probe(): void {
    if (!this.isReady) return;
    // The answer that is on its way says nothing of how things are now.
    if (this.#answer.isSet) return void (this.#asksAgain = true);
    this.#asksAgain = false;
    const sentAt = this.#environment.now();
    this.#answer.set(this.#patience.heartbeatMs, () => {
      const waited = this.#environment.now() - sentAt;
      // Nobody looked for a while: the machine slept. The answer may be lost, but the socket need not be.
      if (waited > 2 * this.#patience.heartbeatMs || this.#lastSeen > sentAt) this.probe();
      else this.drop('no heartbeat');
    });
    this.send({ op: Op.Heartbeat, time: sentAt });
  }

  /** Gives the socket up without waiting for anyone. */
  drop(reason: string, code?: number): void {
    if (this.#isOver) return;
    const socket = this.#socket;
    this.#end(1006, reason);
    try {
      socket.close(code);
    } catch {
      // It was not open yet.
    }
  }

  #onClose(code: number, reason: unknown): void {
    const error = this.#error;
    const said = text(reason) || (error as Error | undefined)?.message || text(error);
    this.#end(code, said || (this.isReady || code !== 1006 ? '' : 'could not connect'), error);
  }

  #end(code: number, reason: string, error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isReady = false;
    // `onerror` stays: `ws` would throw an error that nobody listens to.
    this.#socket.onmessage = this.#socket.onclose = null;
    for (const timer of [this.#deadline, this.#beat, this.#answer]) timer.clear();
    const at = this.#comeBackAt;
    const after = at === undefined ? {} : { afterMs: Math.max(0, at - this.#environment.now()) };
    this.#events.onEnd({ code, reason, ...after, ...(error !== undefined && { error }) });
  }

  #onMessage(data: unknown): void {
    if (this.#isOver) return;
    let frame: ServerFrame | null;
    try {
      frame = JSON.parse(data as string);
    } catch {
      // Nothing of it has been given to the app: it comes again behind the cursor.
      return this.drop('not a JSON frame');
    }
    // A value that is no frame is passed over, as an op is that a later gateway adds.
    if (typeof frame === 'object' && frame) this.#onFrame(frame);
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.op === Op.Hello) return this.#isIdentified ? undefined : this.#onHello(frame);
    if (frame.op === Op.Heartbeat) return this.send({ op: Op.HeartbeatAck, time: frame.time });
    if (frame.op === Op.Reconnect) return this.#onReconnect(number(frame.after), text(frame.reason) ?? '');
    if (frame.op === Op.Ready) return this.#isIdentified && !this.isReady ? this.#onReady(frame) : undefined;
    // All others belong to a session.
    if (!this.isReady) return;
    switch (frame.op) {
      case Op.Message:
      case Op.Subscription:
      case Op.Gap:
        return this.#events.onFrame(frame);
      case Op.Error:
        return this.#events.onSoftError(text(frame.code) ?? 'unknown', text(frame.detail) ?? '');
      case Op.HeartbeatAck:
        this.#answer.clear();
        if (this.#asksAgain && this.budget.wait(this.#lastSeen) === 0) this.probe();
        if (number(frame.time) !== undefined) this.#events.onLatency(Math.max(0, this.#lastSeen - frame.time!));
        return;
      case Op.Refreshed:
        return this.#events.onRefreshed(number(frame.expires_in));
    }
  }

  #onHello({ heartbeat_interval, limits }: Extract<ServerFrame, { op: 0 }>): void {
    this.#isIdentified = true;
    this.#beatEveryMs = Math.max(number(heartbeat_interval) ?? DEFAULT_BEAT_MS, MIN_BEAT_MS);
    this.budget = new Budget(number(limits?.messages_per_minute) ?? 0);
    const token = this.#token;
    const room = (number(limits?.message_bytes) || Infinity) - JSON.stringify(token).length - IDENTIFY_MARGIN;
    this.send({ op: Op.Identify, token, channels: this.#events.identify(room) });
  }

  #onReady(frame: Extract<ServerFrame, { op: 2 }>): void {
    if (text(frame.user) === undefined) return this.drop('a Ready without a user');
    this.isReady = true;
    this.#deadline.clear();
    this.#events.onReady(frame);
    // Right away: the latency is known from the beginning.
    this.probe();
    this.#beatAgain();
  }

  #onReconnect(afterMs: number | undefined, reason: string): void {
    // Close follows at once. Where it gets lost we go all the same.
    if (afterMs === undefined) return;
    this.#comeBackAt = this.#environment.now() + afterMs;
    this.#deadline.set(afterMs, () => this.drop(reason));
  }

  #beatAgain(): void {
    if (!this.isReady) return;
    this.#beat.set(this.#beatEveryMs, () => {
      this.probe();
      this.#beatAgain();
    });
  }
}
