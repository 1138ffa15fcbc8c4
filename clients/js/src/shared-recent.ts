/** In the worker: the newest messages of channels, for tabs that subscribe later than another one. */

import type { ChannelEvent } from './subscription.js';

interface Recent {
  /** The largest `last` of the tabs. */
  limit: number;
  /** The messages since the last gap; `undefined` unless the channel began with stored messages. */
  messages: ChannelEvent[] | undefined;
}

/** The newest messages of the channels that tabs begin with `last`. */
export class RecentMessages {
  readonly #channels = new Map<string, Recent>();

  /** A tab subscribes with `last`. */
  want(channel: string, last: number): void {
    const recent = this.#channels.get(channel) ?? { limit: 0, messages: undefined };
    recent.limit = Math.max(recent.limit, last);
    this.#channels.set(channel, recent);
  }

  /** The newest messages, at most `last`; `undefined` if they are not known. */
  of(channel: string, last: number): ChannelEvent[] | undefined {
    return last > 0 ? this.#channels.get(channel)?.messages?.slice(-last) : undefined;
  }

  /** An event of a channel, after the tabs got it. */
  note(event: ChannelEvent): void {
    const recent = this.#channels.get(event.channel);
    if (!recent) return;
    if (event.type === 'subscribed' && event.last !== undefined) recent.messages = [];
    else if (event.type === 'gap') recent.messages &&= [];
    else if (event.type === 'message' && event.position && recent.messages) {
      recent.messages = [...recent.messages, event].slice(-recent.limit);
    }
  }

  /** No tab is subscribed any more. */
  forget(channel: string): void {
    this.#channels.delete(channel);
  }
}
