/** In the worker: requests of all tabs, and which tab gets an answer. */

import type { Requester, ServerFrame } from './protocol.js';
import { MAX_IN_FLIGHT } from './requests.js';
import type { FromWorker, RequestFrame } from './shared-messages.js';

/** The part of a tab that gets answers. */
export interface AskingTab {
  post(message: FromWorker): void;
}

/** The requests of the tabs that share a client. The ids of different tabs differ. */
export class SharedRequests implements Requester {
  readonly #onFree: () => void;
  #waiting: Array<{ tab: AskingTab; frame: RequestFrame }> = [];
  /** The tabs that asked, by id. The gateway serves a limited number at once. */
  readonly #sent = new Map<string, AskingTab>();
  /** The tabs that sent a message, by id. Two tabs may repeat the same one. */
  readonly #posted = new Map<string, Set<AskingTab>>();

  /** @param onFree is called when another request may be sent. */
  constructor(onFree: () => void) {
    this.#onFree = onFree;
  }

  add(tab: AskingTab, frame: RequestFrame): void {
    this.#waiting.push({ tab, frame });
  }

  /** A tab sends a message at once: its answer goes to this tab. */
  posted(tab: AskingTab, id: string): void {
    this.#posted.set(id, (this.#posted.get(id) ?? new Set()).add(tab));
  }

  next(): object | undefined {
    if (this.#sent.size >= MAX_IN_FLIGHT) return undefined;
    const asked = this.#waiting.shift();
    if (!asked) return undefined;
    const { tab, frame } = asked;
    this.#sent.set(frame.id, tab);
    tab.post({ type: 'sent', id: frame.id });
    return frame;
  }

  sent(): void {}

  take(frame: ServerFrame): void {
    const { id } = frame as { id: string };
    const tabs = [this.#sent.get(id), ...(this.#posted.get(id) ?? [])];
    this.#sent.delete(id);
    this.#posted.delete(id);
    for (const tab of tabs) tab?.post({ type: 'answer', frame });
    this.#onFree();
  }

  /** A tab has gone: its requests are not sent. */
  leave(left: AskingTab): void {
    this.#waiting = this.#waiting.filter(({ tab }) => tab !== left);
    this.#sent.forEach((tab, id) => tab === left && this.#sent.delete(id));
    this.#posted.forEach((tabs) => tabs.delete(left));
  }

  /** The connection has ended, and no answer follows. The tabs know from the state. */
  clear(): void {
    this.#waiting = [];
    this.#sent.clear();
    this.#posted.clear();
  }
}
