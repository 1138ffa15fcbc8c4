/**
 * All channels of a client: what the app wants, what the gateway has been asked for, and where each one is.
 *
 * The rule of the cursor: it moves behind a message after that was given to the app, and to another place only after
 * the app was told of the gap. So whatever is sent as `since` has been seen by the app up to there.
 */

import { Op, type ChannelRequest, type ServerFrame, type Standing } from './protocol.js';
import { Channel, type ChannelEvent, type Subscription, type SubscriptionContext } from './subscription.js';

/** What the gateway knows of a channel. At most one request for each channel is on its way. */
type Wire = 'off' | 'subscribing' | 'recovering' | 'on' | 'unsubscribing' | 'refused';

interface Entry {
  channel: Channel;
  wire: Wire;
  /** The session is on it by itself, and cannot leave it. */
  isOwn: boolean;
  /** What the gateway sends does not continue what the app has: it has to be left and asked for again. */
  isStale: boolean;
}

/** What Channels needs from its client. */
export interface ChannelsContext {
  bufferSize: number;
  onThrown(error: unknown): void;
  /** Something on any channel. */
  onEvent(event: ChannelEvent): void;
  /** Something may have to be sent: call `requests` soon. */
  onDirty(): void;
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
      bufferSize: context.bufferSize,
      onThrown: context.onThrown,
      onWanted: (channel, since) => this.#onWanted(channel, since),
    };
  }

  subscribe(name: string, since: string | undefined): Subscription {
    return this.#entry(name).channel.subscribe(since);
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
  onReady(user: string, standings: Standing[]): void {
    const own = [`user:${user}`, 'all'];
    for (const standing of standings) {
      const entry = this.#entry(standing.channel);
      entry.isOwn = own.includes(standing.channel);
      this.#onStanding(entry, standing);
    }
    // Those of another user: the session has others now.
    this.#entries.forEach((entry, name) => {
      if (entry.isOwn && !own.includes(name)) entry.isOwn = false;
    });
    this.#forgetUnwanted();
  }

  /** The connection is gone, and with it all that the gateway knew. */
  onDisconnected(): void {
    this.#entries.forEach((entry) => {
      entry.wire = 'off';
      entry.isStale = false;
      entry.channel.state = 'pending';
    });
    this.#forgetUnwanted();
  }

  onFrame(frame: Extract<ServerFrame, { op: 3 | 6 | 8 }>): void {
    const entry = this.#entries.get(frame.channel);
    if (!entry) return;
    if (frame.op === Op.Subscription) return this.#onAnswer(entry, frame);
    if (entry.wire !== 'on' || this.#isUnheard(entry)) return;
    const { channel } = entry;
    if (frame.op === Op.Gap) return this.#emit(channel, { type: 'gap', channel: frame.channel, reason: frame.reason });
    const { message, position } = frame;
    this.#emit(channel, { type: 'message', channel: frame.channel, message, ...(position ? { position } : {}) });
    if (position) channel.cursor = position;
  }

  /** The next thing to ask the gateway for, which is then taken as asked. */
  nextCommand(): ChannelCommand | undefined {
    for (const entry of this.#entries.values()) {
      if (entry.channel.isWanted && entry.wire === 'off') {
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

  /** Ends every subscription. */
  close(): void {
    this.#entries.forEach(({ channel }) => channel.subscriptions.forEach((subscription) => subscription.unsubscribe()));
  }

  #onAnswer(entry: Entry, frame: Extract<ServerFrame, { op: 6 }>): void {
    const { channel } = entry;
    if (frame.state === 'subscribed' || frame.state === 'recovering') {
      if (entry.wire === 'subscribing' || entry.wire === 'recovering') this.#onStanding(entry, frame);
    } else if (frame.state === 'unsubscribed' && entry.wire === 'unsubscribing') {
      entry.wire = 'off';
      entry.isStale = false;
      this.#forgetUnwanted();
    } else {
      // Refused, or taken away: a new token opens fewer channels.
      entry.wire = 'refused';
      channel.state = 'refused';
      const reason = (channel.refusal = frame.reason ?? 'unsubscribed');
      this.#emit(channel, { type: 'refused', channel: channel.name, reason });
      this.#forgetUnwanted();
    }
    this.#context.onDirty();
  }

  #onStanding(entry: Entry, standing: Standing): void {
    const { channel } = entry;
    const since = channel.cursor;
    const isRecovering = standing.state === 'recovering';
    entry.wire = isRecovering ? 'recovering' : 'on';
    if (this.#isUnheard(entry)) return;
    channel.state = isRecovering ? 'recovering' : 'subscribed';
    // The cursor stays: if the socket ends now, the next one names the same position.
    if (isRecovering) return this.#emit(channel, { type: 'recovering', channel: channel.name });
    const { position, recovered } = standing;
    if (since === undefined) channel.cursor = position;
    this.#emit(channel, { type: 'subscribed', channel: channel.name, position });
    if (since === undefined) return;
    if (recovered) return this.#emit(channel, { type: 'recovered', channel: channel.name, position });
    this.#emit(channel, { type: 'gap', channel: channel.name, reason: 'not_recovered', position });
    channel.cursor = position;
  }

  #emit(channel: Channel, event: ChannelEvent): void {
    channel.emit(event);
    this.#context.onEvent(event);
  }

  #request({ name, cursor }: Channel): ChannelRequest {
    return cursor === undefined ? { channel: name } : { channel: name, since: cursor };
  }

  #onWanted(channel: Channel, since: string | undefined): void {
    const entry = this.#entry(channel.name);
    // A position of its own to begin at. The session's own channels cannot be left for it.
    if (since !== undefined && since !== channel.cursor && !(entry.isOwn && channel.cursor)) {
      channel.cursor = since;
      entry.isStale = !entry.isOwn && ['on', 'recovering', 'subscribing'].includes(entry.wire);
      if (entry.isStale) channel.state = 'pending';
    }
    this.#forgetUnwanted();
    this.#context.onDirty();
  }

  /** What comes for a channel that is about to be left reaches nobody, and so does not count as seen. */
  #isUnheard(entry: Entry): boolean {
    if (!entry.isOwn && !entry.channel.isWanted) entry.isStale = true;
    if (entry.isStale) entry.channel.state = 'pending';
    return entry.isStale;
  }

  #entry(name: string): Entry {
    let entry = this.#entries.get(name);
    if (!entry) {
      entry = { channel: new Channel(name, this.#subscriptions), wire: 'off', isOwn: false, isStale: false };
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
