/** In the worker: requests of all tabs, and which tab gets an answer. */

import type { Requester, ServerFrame } from './protocol.js';
import type { FromWorker, RequestFrame } from './shared-messages.js';

/** The part of a tab that gets answers. */
export interface AskingTab {
  post(message: FromWorker): void;
}

interface Asked {
  tab: AskingTab;
  frame: RequestFrame;
}

/** The requests of the tabs that share a client. Tabs choose the same ids, so the worker has its own. */
export class SharedRequests implements Requester {
  #waiting: Asked[] = [];
  readonly #sent = new Map<string, Asked>();
  #count = 0;

  add(tab: AskingTab, frame: RequestFrame): void {
    this.#waiting.push({ tab, frame });
  }

  next(): object | undefined {
    const asked = this.#waiting.shift();
    if (!asked) return undefined;
    const id = `m${++this.#count}`;
    this.#sent.set(id, asked);
    asked.tab.post({ type: 'sent', id: asked.frame.id });
    return { ...asked.frame, id };
  }

  sent(): void {}

  take(frame: ServerFrame): void {
    const { id } = frame as { id?: string };
    const asked = this.#sent.get(id!);
    this.#sent.delete(id!);
    asked?.tab.post({ type: 'answer', frame: { ...frame, id: asked.frame.id } as ServerFrame });
  }

  /** A tab has gone: its requests are not sent. */
  leave(left: AskingTab): void {
    this.#waiting = this.#waiting.filter(({ tab }) => tab !== left);
    this.#sent.forEach(({ tab }, id) => tab === left && this.#sent.delete(id));
  }

  /** The connection has ended, and no answer follows. The tabs know from the state. */
  clear(): void {
    this.#waiting = [];
    this.#sent.clear();
  }
}
