/** A tab's way to its worker. It notices when the worker has gone: such a worker says nothing about it. */

import { realEnvironment, Timer } from './environment.js';
import { lockManager } from './shared-lock.js';
import type { FromTab, FromWorker, Port } from './shared-messages.js';

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

  post(message: FromTab): void {
    this.#port.postMessage(message);
  }

  /** Asks for a sign of life again and again. A frozen page asks once more before it judges: answers may lie there. */
  watch(): void {
    this.#unanswered = 0;
    this.#ask();
  }

  rest(): void {
    this.#beat.clear();
  }

  close(): void {
    this.rest();
    this.#end.abort();
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

  #lose(): void {
    if (this.#end.signal.aborted) return;
    this.close();
    this.#context.onLost();
  }
}
