/**
 * All channels of a client: what the app wants, what the gateway has been asked for, and where each one is.
 *
 * The rule of the cursor: it moves behind a message after that was given to the app, and to another position only after
 * the app was told of the gap. So whatever is sent as `since` has been seen by the app up to there.
 */

import type { Backoff } from './backoff.js';
import { Op, text, type ChannelRequest, type ServerFrame, type Standing } from './protocol.js';
import { Channel, subscribe, type ChannelEvent, type Subscription, type SubscriptionContext } from './subscription.js';

/** What the gateway knows of a channel. At most one request for each channel is on its way. */
type Wire = 'off' | 'subscribing' | 'recovering' | 'on' | 'unsubscribing' | 'refused';

interface Entry {
  channel: Channel;
  wire: Wire;
  /** The session is on it by itself, and cannot leave it. */
  isOwn: boolean;
  /** What the gateway sends does not continue what the app has: it has to be left and asked for again. */
  isStale: boolean;
  /** The position from which the gateway was asked to continue. */
  since?: string | undefined;
  /** The app has set the cursor since the last session: no session of another user has moved it. */
  isGiven: boolean;
  /** The cursor was another user's and is gone: the app has to be told of the gap. */
  isLost: boolean;
  /** Refused for the moment only: when to ask again, and how often it was in vain. */
  retryAt?: number | undefined;
  backoff?: Backoff | undefined;
  /** A new token was sent after it was refused. */
  mayBeAllowed: boolean;
}

/** What Channels needs from its client. */
export interface ChannelsContext extends Omit<SubscriptionContext, 'onWanted' | 'onRefused'> {
  /** Something on any channel. */
  onEvent(event: ChannelEvent): void;
  /** Something may have to be sent: call `nextCommand` soon. */
  onDirty(): void;
  /** Runs a task behind the events that wait to be delivered, unless the session is over by then. */
  push(task: () => void): void;
  now(): number;
  newBackoff(): Backoff;
}

/** A request that brings the gateway nearer to what is wanted. */
export type ChannelCommand = ({ op: 4 } & ChannelRequest) | { op: 5; channel: string };

export class Channels {
  readonly #context: ChannelsContext;
  readonly #entries = new Map<string, Entry>();
  readonly #subscriptions: SubscriptionContext;

  constructor(context: ChannelsContext) {
    this.#context = context;
    this.#subscriptions = {
      ...context,
      onWanted: (channel, isMoved) => this.#onWanted(channel, isMoved),
      onRefused: (event) => context.onEvent(event),
    };
  }

  subscribe(name: string, options: { since?: string | null | undefined } | undefined): Subscription {
    return subscribe(name, options, this.#subscriptions, () => {
      const { channel, isOwn } = this.#entry(name);
      return [channel, isOwn];
    });
  }

  /** Whether the session is on this channel by itself. */
  isOwn(name: string): boolean {
    return this.#entries.get(name)?.isOwn ?? false;
  }

  /** The channels for Identify, in as many bytes. What does not fit is asked for later. */
  identify(maxBytes: number): ChannelRequest[] {
    let left = maxBytes;
    const requests: ChannelRequest[] = [];
    // Its own first: these cannot be asked for later.
    for (const entry of [...this.#entries.values()].sort((one, other) => +other.isOwn - +one.isOwn)) {
      const request = this.#request(entry.channel);
      left -= JSON.stringify(request).length + 1;
      if (left < 0) break;
      if (!entry.isOwn) entry.wire = 'subscribing';
      requests.push(request);
    }
    return requests;
  }

  /** Identified: these are the channels of the session. */
  onReady(user: string, standings: unknown): void {
    const own = [`user:${user}`, 'all'];
    const list = Array.isArray(standings) ? standings : [];
    // A Ready that lists nothing has answered nothing.
    if (!list.length) this.#entries.forEach((entry) => (entry.wire = 'off'));
    for (const standing of list as Array<Standing | null>) {
      if (typeof standing?.channel !== 'string') continue;
      const entry = this.#entry(standing.channel);
      entry.isOwn = own.includes(standing.channel);
      this.#onStanding(entry, standing);
    }
    // Those of another user: the session has others now.
    this.#entries.forEach((entry, name) => {
      if (entry.isOwn && !own.includes(name)) entry.isOwn = false;
      entry.isGiven = false;
    });
    this.#forgetUnwanted();
  }

  /** The connection is gone, and with it all that the gateway knew. */
  onDisconnected(): void {
    this.#entries.forEach((entry) => {
      entry.wire = 'off';
      entry.isStale = entry.mayBeAllowed = false;
      entry.retryAt = entry.backoff = undefined;
      entry.channel.state = 'pending';
    });
    this.#forgetUnwanted();
  }

  /** The next session is another user's: no position of the last one is sent. */
  forgetUser(): void {
    this.#entries.forEach((entry) => {
      const { channel } = entry;
      if (channel.cursor !== undefined && !entry.isGiven) {
        channel.cursor = undefined;
        channel.moves++;
        entry.isLost = true;
      }
      entry.isOwn = false;
    });
    this.#forgetUnwanted();
  }

  onFrame(frame: Extract<ServerFrame, { op: 3 | 6 | 8 }>): void {
    const entry = this.#entries.get(frame.channel);
    if (!entry) return;
    if (frame.op === Op.Subscription) return this.#onAnswer(entry, frame);
    if (entry.wire !== 'on') return;
    const { name: channel } = entry.channel;
    if (frame.op === Op.Gap) {
      return this.#tell(entry, { type: 'gap', channel, reason: text(frame.reason) ?? 'unknown' });
    }
    const position = text(frame.position);
    this.#tell(entry, { type: 'message', channel, message: frame.message, ...(position && { position }) }, position);
  }

  /** The next thing to ask the gateway for, which is then taken as asked. */
  nextCommand(): ChannelCommand | undefined {
    for (const entry of this.#entries.values()) {
      const isDue = entry.wire === 'refused' && this.#dueInMs(entry) <= 0;
      if (entry.channel.isWanted && (entry.wire === 'off' || isDue)) {
        entry.wire = 'subscribing';
        return { op: Op.Subscribe, ...this.#request(entry.channel) };
      }
      const isJoined = entry.wire === 'on' || entry.wire === 'recovering';
      if ((entry.isStale || !entry.channel.isWanted) && isJoined && !entry.isOwn) {
        entry.wire = 'unsubscribing';
        entry.channel.state = 'pending';
        return { op: Op.Unsubscribe, channel: entry.channel.name };
      }
    }
    return undefined;
  }

  /** When there is something to ask for again, in milliseconds from now. */
  get nextInMs(): number {
    return Math.min(...[...this.#entries.values()].map((entry) => this.#dueInMs(entry)));
  }

  /** A new token is sent, which may open what was refused until now. */
  onRefresh(): void {
    this.#entries.forEach((entry) => (entry.mayBeAllowed = entry.wire === 'refused'));
  }

  /** The new token counts. */
  onRefreshed(): void {
    this.#entries.forEach((entry) => {
      if (entry.mayBeAllowed && entry.wire === 'refused') entry.wire = 'off';
      entry.mayBeAllowed = false;
    });
    this.#context.onDirty();
  }

  /** Ends every subscription. */
  close(): void {
    this.#entries.forEach(({ channel }) => channel.subscriptions.forEach((subscription) => subscription.unsubscribe()));
  }

  #onAnswer(entry: Entry, frame: Extract<ServerFrame, { op: 6 }>): void {
    if (frame.state === 'subscribed' || frame.state === 'recovering') {
      if (entry.wire === 'subscribing' || entry.wire === 'recovering') this.#onStanding(entry, frame);
    } else if (frame.state === 'unsubscribed' && entry.wire === 'unsubscribing') {
      entry.wire = 'off';
      entry.isStale = false;
      this.#forgetUnwanted();
    } else if (frame.state === 'refused' || frame.state === 'unsubscribed') {
      this.#onRefused(entry, text(frame.reason) ?? frame.state);
    }
    this.#context.onDirty();
  }

  /** Refused, or taken away: a new token opens fewer channels. */
  #onRefused(entry: Entry, reason: string): void {
    const { channel } = entry;
    // Asked again in vain: the app knows.
    const isKnown = channel.state === 'refused' && channel.refusal === reason;
    entry.wire = channel.state = 'refused';
    entry.isStale = false;
    channel.refusal = reason;
    entry.retryAt = undefined;
    if (reason === 'unavailable') {
      entry.backoff ??= this.#context.newBackoff();
      entry.retryAt = this.#context.now() + entry.backoff.next('later');
    }
    this.#context.push(() => {
      if (!isKnown) this.#give(entry, { type: 'refused', channel: channel.name, reason });
      this.#forgetUnwanted();
    });
  }

  #onStanding(entry: Entry, { state, position, recovered }: Standing): void {
    const { channel } = entry;
    const { name } = channel;
    entry.wire = state === 'recovering' ? 'recovering' : 'on';
    // The cursor stays: if the socket ends now, the next one names the same position.
    if (state === 'recovering') {
      return this.#later(entry, () => {
        channel.state = 'recovering';
        this.#give(entry, { type: 'recovering', channel: name });
      });
    }
    entry.backoff = undefined;
    const at = text(position) as string;
    this.#later(entry, () => {
      channel.state = 'subscribed';
      entry.since = channel.cursor;
      channel.cursor ??= at;
      this.#give(entry, { type: 'subscribed', channel: name, position: at });
    });
    this.#later(entry, () => {
      const { since, isLost } = entry;
      entry.isLost = false;
      if (since === undefined && !isLost) return;
      if (recovered === true) return this.#give(entry, { type: 'recovered', channel: name, position: at });
      this.#give(entry, { type: 'gap', channel: name, reason: 'not_recovered', position: at }, at);
    });
  }

  #tell(entry: Entry, event: ChannelEvent, position?: string): void {
    this.#later(entry, () => this.#give(entry, event, position));
  }

  #give(entry: Entry, event: ChannelEvent, position?: string): void {
    entry.channel.give(event, (told) => this.#context.onEvent(told), position);
  }

  /** Runs a task in the order of events, if the channel is still to be heard then. */
  #later(entry: Entry, task: () => void): void {
    this.#context.push(() => {
      // Events of a channel that is about to be left reach nobody, and so do not count as seen.
      if (!entry.isOwn && !entry.channel.isWanted) entry.isStale = true;
      if (entry.isStale) entry.channel.state = 'pending';
      else task();
    });
  }

  #request({ name, cursor }: Channel): ChannelRequest {
    return cursor === undefined ? { channel: name } : { channel: name, since: cursor };
  }

  #dueInMs({ channel, wire, retryAt }: Entry): number {
    return channel.isWanted && wire === 'refused' && retryAt !== undefined ? retryAt - this.#context.now() : Infinity;
  }

  #onWanted(channel: Channel, isMoved: boolean): void {
    const entry = this.#entry(channel.name);
    if (isMoved) {
      entry.isGiven = true;
      entry.isLost = false;
      entry.isStale = !entry.isOwn && ['on', 'recovering', 'subscribing'].includes(entry.wire);
      if (entry.isStale) channel.state = 'pending';
    }
    this.#forgetUnwanted();
    this.#context.onDirty();
  }

  #entry(name: string): Entry {
    let entry = this.#entries.get(name);
    if (!entry) {
      const channel = new Channel(name, this.#subscriptions);
      const flags = { isOwn: false, isStale: false, isGiven: false, isLost: false, mayBeAllowed: false };
      entry = { channel, wire: 'off', ...flags };
      this.#entries.set(name, entry);
    }
    return entry;
  }

  #forgetUnwanted(): void {
    this.#entries.forEach(({ channel, wire, isOwn }, name) => {
      const isSettled = wire === 'off' || wire === 'refused';
      if (!channel.isWanted && !isOwn && isSettled) this.#entries.delete(name);
    });
  }
}
