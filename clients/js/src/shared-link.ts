/** A tab's way to its worker. It notices when the worker has gone: such a worker says nothing about it. */

import { realEnvironment, Timer } from './environment.js';
import { lockManager } from './shared-lock.js';
import type { FromTab, FromWorker, Port } from './shared-messages.js';

/** What the worker said before it went may still be on its way. Milliseconds; other tabs wait at least 250. */
const LAST_WORDS_MS = 100;

export interface WorkerLinkContext {
  /** How long the worker may be silent, in milliseconds. */
  timeoutMs: number;
  onMessage(message: FromWorker): void;
  /** The worker has ended, has not begun, or stands still. Nothing is heard of it any more. */
  onLost(): void;
}

export class WorkerLink {
  readonly #port: Port;
  readonly #context: WorkerLinkContext;
  readonly #beat = new Timer(realEnvironment());
  readonly #end = new AbortController();
  /** How often it was asked since it said something. */
  #unanswered = 0;

  constructor(worker: SharedWorker | Port, context: WorkerLinkContext) {
    this.#context = context;
    this.#port = 'port' in worker ? (worker.port as Port) : worker;
    this.#port.onmessage = ({ data }: { data: FromWorker }) => this.#onData(data);
    // Its script could not be loaded.
    const { signal } = this.#end;
    if ('port' in worker) worker.addEventListener?.('error', () => this.#lose(), { signal });
  }

  get #isOver(): boolean {
    return this.#end.signal.aborted;
  }

  post(message: FromTab): void {
    this.#port.postMessage(message);
  }

  /** Asks for a sign of life again and again. A frozen page asks once more before it judges: answers may lie there. */
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

  /** The worker holds this lock as long as it lives. */
  #waitForEnd(lock: string): void {
    const { signal } = this.#end;
    const got = lockManager()?.request(lock, { mode: 'shared', signal }, () => this.#lose());
    // Given up, or not allowed here: then its silence tells.
    got?.catch(() => {});
  }

  #stopWatching(): void {
    this.#beat.clear();
    this.#end.abort();
  }

  /** All tabs should be at the same place when they come to the next worker. So each hears this one's last words. */
  #lose(): void {
    if (this.#isOver) return;
    this.#stopWatching();
    this.#beat.set(LAST_WORDS_MS, () => {
      this.close();
      this.#context.onLost();
    });
  }
}
