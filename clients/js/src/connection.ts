/** One socket, from its opening to its end. A reconnect creates another Connection. */

import { Budget } from './budget.js';
import type { Channels } from './channels.js';
import { Timer, type Environment, type Socket } from './environment.js';
import { FRAME_MARGIN, MIN_BEAT_MS } from './limits.js';
import { number, Op, text, type ServerFrame } from './protocol.js';
import type { EventQueue } from './queue.js';

/**
 * How a socket ended: with the code 1006 if there was no Close. Browsers report no error. The delay is
 * the one that the gateway requested (op 7).
 */
export type Ending = [code: number, reason: string, error: unknown, afterMs: number | undefined];

/** The inputs and callbacks of a connection. No callback runs after `onEnd`. */
export interface ConnectionContext {
  url: string;
  token: string;
  environment: Environment;
  /** The timeout from the opening to Ready, in milliseconds. */
  connectMs: number;
  /** The timeout for the answer to a heartbeat, in milliseconds. */
  heartbeatMs: number;
  /** Socket events are queued after events that are not delivered yet. */
  queue: EventQueue;
  channels: Channels;
  onReady(frame: Extract<ServerFrame, { op: 2 }>): void;
  onSoftError(code: string, detail: string | undefined): void;
  /** A token is in force: after Ready, and after a refresh. */
  onToken(expiresInMs: number | undefined): void;
  onLatency(latencyMs: number): void;
  onEnd(...ending: Ending): void;
}

export class Connection {
  readonly #context: ConnectionContext;
  /** The message budget; known after Hello. */
  budget: Budget | undefined;
  /** The maximum size of a frame of channels; known after Hello. */
  maxBytes = 0;
  isReady = false;
  readonly #socket: Socket;
  readonly #deadline: Timer;
  readonly #beat: Timer;
  readonly #answer: Timer;
  /** Known after Hello. */
  #beatEveryMs: number | undefined;
  #lastSeen = 0;
  /** When to reconnect, after op 7. */
  #comeBackAt: number | undefined;
  #isOver = false;
  /** Another probe was requested while an answer was pending. */
  #asksAgain = false;
  #error: unknown;

  /** @throws whatever the WebSocket constructor throws. */
  constructor(context: ConnectionContext) {
    const { url, environment, connectMs, queue } = (this.#context = context);
    this.#deadline = new Timer(environment);
    this.#beat = new Timer(environment);
    this.#answer = new Timer(environment);
    if (!environment.WebSocket) throw new TypeError('no WebSocket');
    this.#socket = new environment.WebSocket(url);
    this.#socket.onmessage = ({ data }) => {
      this.#lastSeen = this.#now;
      queue.push(() => this.#onMessage(data));
    };
    this.#socket.onclose = ({ code, reason }) => {
      const error = this.#error as Error | undefined;
      queue.push(() => this.#end(code ?? 1006, text(reason) || String(error?.message ?? error ?? ''), error));
    };
    // Always followed by close.
    this.#socket.onerror = (event) => (this.#error = event?.error ?? event?.message);
    this.#deadline.set(connectMs, () => this.drop('timeout'));
  }

  get #now(): number {
    return this.#context.environment.now();
  }

  /** Sends one frame, and counts it, unless it has a budget of its own. */
  send(frame: object, isCounted = true): void {
    if (this.#isOver) return;
    if (isCounted) this.budget?.note(this.#now);
    try {
      this.#socket.send(JSON.stringify(frame));
    } catch {
      this.drop('cannot send');
    }
  }

  /** Sends a heartbeat. Its answer shows that the gateway is alive, and gives the latency. */
  probe(): void {
    if (!this.isReady) return;
    // The pending answer does not show the present state.
    if (this.#answer.isSet) return void (this.#asksAgain = true);
    this.#asksAgain = false;
    const sentAt = this.#now;
    const { heartbeatMs } = this.#context;
    this.#answer.set(heartbeatMs, () => {
      const waited = this.#now - sentAt;
      // The timer is late, so the machine slept. The answer may be lost although the socket is not.
      if (waited > 2 * heartbeatMs || this.#lastSeen > sentAt) this.probe();
      else this.drop('no heartbeat');
    });
    this.send({ op: Op.Heartbeat, time: sentAt });
  }

  /** Closes the socket without waiting for the gateway. */
  drop(reason: string, code?: number): void {
    if (this.#isOver) return;
    this.#end(1006, reason);
    this.#socket.close(code);
  }

  #end(code: number, reason: string, error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isReady = false;
    // Keep `onerror`: `ws` throws an error without a listener.
    this.#socket.onmessage = this.#socket.onclose = null;
    for (const timer of [this.#deadline, this.#beat, this.#answer]) timer.clear();
    const at = this.#comeBackAt;
    this.#context.onEnd(code, reason, error, at && Math.max(0, at - this.#now));
  }

  #onMessage(data: unknown): void {
    if (this.#isOver) return;
    let frame: ServerFrame;
    try {
      frame = JSON.parse(data as string);
    } catch {
      // The app has received nothing of it, so it is delivered again after a reconnect.
      return this.drop('bad frame');
    }
    // A value that is not a frame is ignored, like an op that a later gateway adds.
    if (frame?.op >= 0) this.#onFrame(frame);
  }

  #onFrame(frame: ServerFrame): void {
    switch (frame.op) {
      case Op.Hello:
        return this.#beatEveryMs ? undefined : this.#onHello(frame);
      case Op.Ready:
        return this.#beatEveryMs && !this.isReady ? this.#onReady(frame) : undefined;
      case Op.Heartbeat:
        return this.send({ op: Op.HeartbeatAck, time: frame.time });
      case Op.Reconnect: {
        const afterMs = number(frame.after);
        if (afterMs === undefined) return;
        this.#comeBackAt = this.#now + afterMs;
        // Close follows at once. If it is lost, the client leaves anyway.
        return this.#deadline.set(afterMs, () => this.drop(text(frame.reason) ?? ''));
      }
    }
    // All other frames belong to a session.
    if (!this.isReady) return;
    // An answer, perhaps an error. Other frames have no id.
    if ('id' in frame) return this.#context.channels.requesters.forEach((requester) => requester.take(frame));
    switch (frame.op) {
      case Op.Error:
        return this.#context.onSoftError(text(frame.code) ?? 'unknown', text(frame.detail));
      case Op.HeartbeatAck:
        this.#answer.clear();
        if (this.#asksAgain && this.budget!.wait(this.#lastSeen) === 0) this.probe();
        if (number(frame.time) !== undefined) this.#context.onLatency(Math.max(0, this.#lastSeen - frame.time!));
        return;
      case Op.Refreshed:
        return this.#context.onToken(number(frame.expires_in));
    }
    this.#context.channels.onFrame(frame);
  }

  #onHello({ heartbeat_interval, limits }: Extract<ServerFrame, { op: 0 }>): void {
    this.#beatEveryMs = Math.max(number(heartbeat_interval) ?? 0, MIN_BEAT_MS);
    this.budget = new Budget(number(limits?.messages_per_minute) ?? 0);
    const { token, channels } = this.#context;
    this.maxBytes = (number(limits?.message_bytes) || Infinity) - FRAME_MARGIN;
    this.send({ op: Op.Identify, token, channels: channels.requests(this.maxBytes - JSON.stringify(token).length) });
  }

  #onReady(frame: Extract<ServerFrame, { op: 2 }>): void {
    if (text(frame.user) === undefined) return this.drop('bad frame');
    this.isReady = true;
    this.#deadline.clear();
    this.#context.onReady(frame);
    this.#context.onToken(number(frame.expires_in));
    // At once, so that the latency is known from the start.
    this.#beatAgain();
  }

  #beatAgain(): void {
    this.probe();
    if (this.isReady) this.#beat.set(this.#beatEveryMs!, () => this.#beatAgain());
  }
}
