/** The life of one socket, from its opening to its end. It never comes back: the next one is another Connection. */

import { Budget } from './budget.js';
import { Timer, type Environment, type Socket } from './environment.js';
import { Op, type ChannelRequest, type ServerFrame } from './protocol.js';

/** How a socket ended. */
export interface Ending {
  /** The close code; 1006 where there was no Close. */
  code: number;
  reason: string;
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
  readonly #socket: Socket;
  readonly #deadline: Timer;
  readonly #beat: Timer;
  readonly #answer: Timer;
  #beatEveryMs = 0;
  #lastSeen = 0;
  /** When the gateway wants us back, after op 7. */
  #comeBackAt: number | undefined;
  #isOver = false;
  /** Somebody wanted to know while an answer was awaited already. */
  #asksAgain = false;

  /** @throws whatever the WebSocket constructor throws. */
  constructor(url: string, token: string, patience: Patience, environment: Environment, events: ConnectionEvents) {
    this.#token = token;
    this.#patience = patience;
    this.#environment = environment;
    this.#events = events;
    this.#deadline = new Timer(environment);
    this.#beat = new Timer(environment);
    this.#answer = new Timer(environment);
    if (!environment.WebSocket) throw new TypeError('there is no WebSocket here: give one as an option');
    this.#socket = new environment.WebSocket(url);
    this.#socket.onmessage = (event) => this.#onMessage(event.data);
    this.#socket.onclose = (event) => this.#end(event.code ?? 1006, event.reason ?? '');
    // Always followed by close.
    this.#socket.onerror = () => {};
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
    if (!this.isReady || this.#isOver) return;
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

  #end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isReady = false;
    this.#socket.onmessage = this.#socket.onclose = null;
    for (const timer of [this.#deadline, this.#beat, this.#answer]) timer.clear();
    const at = this.#comeBackAt;
    const after = at === undefined ? {} : { afterMs: Math.max(0, at - this.#environment.now()) };
    this.#events.onEnd({ code, reason, ...after });
  }

  #onMessage(data: unknown): void {
    this.#lastSeen = this.#environment.now();
    let frame: ServerFrame;
    try {
      frame = JSON.parse(data as string);
    } catch {
      // Whatever it was has not been given to the app: it comes again behind the cursor.
      return this.drop('not a JSON frame');
    }
    this.#onFrame(frame);
  }

  #onFrame(frame: ServerFrame): void {
    switch (frame.op) {
      case Op.Hello:
        return this.#onHello(frame);
      case Op.Ready:
        this.isReady = true;
        this.#deadline.clear();
        this.#events.onReady(frame);
        // Right away: the latency is known from the beginning.
        this.probe();
        return this.#beatAgain();
      case Op.Message:
      case Op.Subscription:
      case Op.Gap:
        return this.#events.onFrame(frame);
      case Op.Reconnect:
        this.#comeBackAt = this.#environment.now() + frame.after;
        // Close follows at once. Where it gets lost we go all the same.
        return this.#deadline.set(frame.after, () => this.drop(frame.reason));
      case Op.Error:
        return this.#events.onSoftError(frame.code, frame.detail);
      case Op.Heartbeat:
        return this.send({ op: Op.HeartbeatAck, time: frame.time });
      case Op.HeartbeatAck:
        this.#answer.clear();
        if (this.#asksAgain) this.probe();
        if (frame.time !== undefined) this.#events.onLatency(Math.max(0, this.#lastSeen - frame.time));
        return;
      case Op.Refreshed:
        return this.#events.onRefreshed(frame.expires_in);
      // An op that a later gateway adds is none of our business.
    }
  }

  #onHello({ heartbeat_interval, limits }: Extract<ServerFrame, { op: 0 }>): void {
    this.#beatEveryMs = Math.max(heartbeat_interval, MIN_BEAT_MS);
    this.budget = new Budget(limits?.messages_per_minute ?? 0);
    const token = this.#token;
    const room = (limits?.message_bytes || Infinity) - JSON.stringify(token).length - IDENTIFY_MARGIN;
    this.send({ op: Op.Identify, token, channels: this.#events.identify(room) });
  }

  #beatAgain(): void {
    if (this.#isOver) return;
    this.#beat.set(this.#beatEveryMs, () => {
      this.probe();
      this.#beatAgain();
    });
  }
}
