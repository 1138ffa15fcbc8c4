/**
 * A tab's connection to its worker. It detects the end of the worker, which sends no message then.
 */

import { realEnvironment, Timer } from './environment.js';
import { lockManager } from './shared-lock.js';
import type { FromTab, FromWorker, Port } from './shared-messages.js';

/**
 * The time for the worker's last messages to arrive. Milliseconds; a new worker waits at least 250.
 */
const LAST_WORDS_MS = 100;

export interface WorkerLinkContext {
  /** How long the worker may be silent, in milliseconds. */
  timeoutMs: number;
  onMessage(message: FromWorker): void;
  /** The worker has ended, did not start, or hangs. None of its messages is delivered any more. */
  onLost(): void;
}

export class WorkerLink {
  readonly #port: Port;
  readonly #context: WorkerLinkContext;
  readonly #beat = new Timer(realEnvironment());
  readonly #end = new AbortController();
  /** The number of pings since the worker's latest message. */
  #unanswered = 0;

  constructor(worker: SharedWorker | Port, context: WorkerLinkContext) {
    this.#context = context;
    this.#port = 'port' in worker ? (worker.port as Port) : worker;
    this.#port.onmessage = ({ data }: { data: FromWorker }) => this.#onData(data);
    // The worker's script could not be loaded.
    const { signal } = this.#end;
    if ('port' in worker) worker.addEventListener?.('error', () => this.#lose(), { signal });
  }

  get #isOver(): boolean {
    return this.#end.signal.aborted;
  }

  post(message: FromTab): void {
    this.#port.postMessage(message);
  }

  /** Sends pings. A page that was frozen sends another one first, because answers may be queued. */
  watch(): void {
    if (this.#isOver) return;
    this.#unanswered = 0;
    this.#ask();
  }

  rest(): void {
    if (!this.#isOver) this.#beat.clear();
  }

  close(): void {
    this.#stopWatching();
    this.#port.onmessage = null;
    this.#port.close?.();
  }

  #ask(): void {
    if (this.#unanswered++ === 2) return this.#lose();
    this.post({ type: 'ping' });
    this.#beat.set(this.#context.timeoutMs / 2, () => this.#ask());
  }

  #onData(data: FromWorker): void {
    this.#unanswered = 0;
    if (data.type === 'alive') this.#waitForEnd(data.lock);
    else if (data.type !== 'pong') this.#context.onMessage(data);
  }

  /** The worker holds this lock while it lives. */
  #waitForEnd(lock: string): void {
    const { signal } = this.#end;
    const got = lockManager()?.request(lock, { mode: 'shared', signal }, () => this.#lose());
    // Aborted, or not allowed here: then the pings detect the end.
    got?.catch(() => {});
  }

  #stopWatching(): void {
    this.#beat.clear();
    this.#end.abort();
  }

  /**
   * Waits for the worker's last messages, so that all tabs join the next worker at the same
   * positions.
   */
  #lose(): void {
    if (this.#isOver) return;
    this.#stopWatching();
    this.#beat.set(LAST_WORDS_MS, () => {
      this.close();
      this.#context.onLost();
    });
  }
}
