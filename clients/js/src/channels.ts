/**
 * All channels of a client: which the app wants, which were requested, and the position of each.
 *
 * The rule of the cursor: it moves past a message after the message was delivered to the app, and
 * to another position only after the app got a gap. So the app has received everything up to the
 * position that is sent as `since`.
 */

import type { Backoff } from './backoff.js';
import type { Timer } from './environment.js';
import { Op, text, type ChannelRequest, type ChannelState, type Requester, type ServerFrame } from './protocol.js';
import { Channel, subscribe, Wire, type ChannelEvent, type Subscription, type SubscriptionContext } from './subscription.js';

/** The callbacks of the client that Channels uses. */
export interface ChannelsContext extends Omit<SubscriptionContext, 'onWanted'> {
  /** There may be a command to send: call `nextCommand` soon. */
  onDirty(): void;
  /** Runs a task after the queued events, unless the session has ended by then. */
  push(task: () => void): void;
  /** When to retry unavailable channels. */
  retry: Timer;
  backoff: Backoff;
}

/**
 * The reason of a temporary refusal: the gateway may not subscribe to the channel at the moment.
 */
const UNAVAILABLE = 'unavailable';

/** All channels of a client. */
export class Channels {
  readonly #context: ChannelsContext;
  /** The part of the library that sends other requests, if the app uses it. */
  requester: Requester | undefined;
  readonly #all = new Map<string, Channel>();
  readonly #subscriptions: SubscriptionContext;

  constructor(context: ChannelsContext) {
    this.#context = context;
    this.#subscriptions = { ...context, onWanted: (channel, isMoved) => this.#onWanted(channel, isMoved) };
  }

  subscribe(name: string, options: { since?: string | null | undefined } | undefined): Subscription {
    return subscribe(name, options, this.#subscriptions, () => this.#find(name));
  }

  /** Whether this is one of the session's own channels. */
  isOwn(name: string): boolean {
    return !!this.#all.get(name)?.isOwn;
  }

  /** The channels for Identify, in at most `maxBytes`. The others are requested later. */
  identify(maxBytes: number): ChannelRequest[] {
    let left = maxBytes;
    const requests: ChannelRequest[] = [];
    // Own channels first: they cannot be requested later.
    for (const channel of [...this.#all.values()].sort((one, other) => +other.isOwn - +one.isOwn)) {
      const request = this.#request(channel);
      left -= JSON.stringify(request).length + 1;
      if (left < 0) break;
      if (!channel.isOwn) channel.wire = Wire.Subscribing;
      requests.push(request);
    }
    return requests;
  }

  /** Ready: these are the channels of the session. */
  onReady(user: string, states: unknown): void {
    const own = [`user:${user}`, 'all'];
    this.#all.forEach((channel, name) => {
      // The user may have changed, and the own channels with it.
      channel.isOwn = own.includes(name);
      channel.isGiven = false;
    });
    for (const state of (Array.isArray(states) ? states : []) as Array<ChannelState | null>) {
      if (typeof state?.channel !== 'string') continue;
      const channel = this.#find(state.channel);
      channel.isOwn = own.includes(state.channel);
      this.#onState(channel, state);
    }
    this.#forgetUnwanted();
  }

  /** The connection has ended, and with it all subscriptions at the gateway. */
  onDisconnected(): void {
    this.#context.retry.clear();
    this.#all.forEach((channel) => {
      channel.wire = Wire.Off;
      channel.isStale = false;
      channel.lastState = undefined;
    });
    this.#forgetUnwanted();
  }

  /** The next session belongs to another user: the previous positions are not sent. */
  forgetUser(): void {
    this.#all.forEach((channel) => {
      channel.forget();
      channel.isOwn = false;
    });
    this.#forgetUnwanted();
  }

  onFrame(frame: Extract<ServerFrame, { op: 3 | 6 | 8 | 14 }>): void {
    const channel = this.#all.get(frame.channel);
    if (!channel) return;
    if (frame.op === Op.Subscription) return this.#onAnswer(channel, frame);
    if (channel.wire !== Wire.On) return;
    const { name } = channel;
    if (frame.op === Op.Gap) {
      return this.#tell(channel, { type: 'gap', channel: name, reason: text(frame.reason) ?? 'unknown' });
    }
    if (frame.op === Op.Presence) {
      const { op, count, ...told } = frame;
      return this.#tell(channel, { ...told, type: 'presence', presence: { count } });
    }
    const position = text(frame.position);
    this.#tell(channel, { type: 'message', channel: name, message: frame.message, ...(position && { position }) }, position);
  }

  /** The next command to send. It counts as sent. */
  nextCommand(): object | undefined {
    for (const channel of this.#all.values()) {
      const { name, wire, isWanted, isStale, isOwn } = channel;
      if (isWanted && wire === Wire.Off) {
        channel.wire = Wire.Subscribing;
        return { op: Op.Subscribe, ...this.#request(channel) };
      }
      if ((isStale || !isWanted) && wire >= Wire.Recovering && !isOwn) {
        channel.wire = Wire.Unsubscribing;
        channel.lastState = undefined;
        return { op: Op.Unsubscribe, channel: name };
      }
    }
    return this.requester?.next();
  }

  /** The gateway accepted a new token, which may allow refused channels. */
  onRefreshed(): void {
    this.#askAgain(() => true);
  }

  /** Ends every subscription. */
  close(): void {
    this.#all.forEach(({ subscriptions }) => subscriptions.forEach((subscription) => subscription.unsubscribe()));
  }

  #onAnswer(channel: Channel, frame: Extract<ServerFrame, { op: 6 }>): void {
    const { wire } = channel;
    if (frame.state === 'subscribed' || frame.state === 'recovering') {
      if (wire === Wire.Subscribing || wire === Wire.Recovering) this.#onState(channel, frame);
    } else if (frame.state === 'unsubscribed' && wire === Wire.Unsubscribing) {
      channel.wire = Wire.Off;
      channel.isStale = false;
      this.#forgetUnwanted();
    } else if (frame.state === 'refused' || frame.state === 'unsubscribed') {
      this.#onRefused(channel, text(frame.reason) ?? frame.state);
    }
    this.#context.onDirty();
  }

  /** The channel was refused, or revoked because a new token allows fewer channels. */
  #onRefused(channel: Channel, reason: string): void {
    const { retry, backoff, push } = this.#context;
    // Refused again: the app already knows.
    const isKnown = channel.refusal === reason;
    channel.wire = Wire.Refused;
    channel.isStale = false;
    if (reason === UNAVAILABLE && !retry.isSet) {
      retry.set(backoff.next('later'), () => this.#askAgain(({ refusal }) => refusal === UNAVAILABLE));
    }
    push(() => {
      if (!isKnown) channel.give({ type: 'refused', channel: channel.name, reason });
      this.#forgetUnwanted();
    });
  }

  #askAgain(isMeant: (channel: Channel) => boolean): void {
    this.#all.forEach((channel) => {
      if (channel.wire === Wire.Refused && isMeant(channel)) channel.wire = Wire.Off;
    });
    this.#context.onDirty();
  }

  #onState(channel: Channel, { state, position, recovered, presence }: ChannelState): void {
    const { name } = channel;
    // The cursor stays: if the socket ends now, the next one sends the same position.
    if (state === 'recovering') {
      channel.wire = Wire.Recovering;
      return this.#tell(channel, { type: state, channel: name });
    }
    channel.wire = Wire.On;
    this.#context.backoff.attempts = 0;
    const at = text(position) as string;
    let since: string | undefined;
    this.#later(channel, () => {
      since = channel.cursor;
      channel.cursor ??= at;
      channel.give({ type: 'subscribed', channel: name, position: at, ...(presence && { presence }) });
    });
    this.#later(channel, () => {
      if (since === undefined) return;
      if (since && recovered === true) return channel.give({ type: 'recovered', channel: name, position: at });
      channel.give({ type: 'gap', channel: name, reason: 'not_recovered', position: at }, at);
    });
  }

  #tell(channel: Channel, event: ChannelEvent, position?: string): void {
    this.#later(channel, () => channel.give(event, position));
  }

  /** Runs a task in the order of events, if the channel is still wanted then. */
  #later(channel: Channel, task: () => void): void {
    this.#context.push(() => {
      // The channel is about to be unsubscribed: its events are not delivered or counted.
      if (!channel.isOwn && !channel.isWanted) channel.isStale = true;
      if (channel.isStale) channel.lastState = undefined;
      else task();
    });
  }

  #request({ name, cursor }: Channel): ChannelRequest {
    // Empty: the position is lost. JSON omits it.
    return { channel: name, since: cursor || undefined };
  }

  #onWanted(channel: Channel, isMoved: boolean): void {
    if (isMoved) {
      channel.isStale = !channel.isOwn && channel.wire >= Wire.Subscribing;
      if (channel.isStale) channel.lastState = undefined;
    }
    this.#forgetUnwanted();
    this.#context.onDirty();
  }

  #find(name: string): Channel {
    const channel = this.#all.get(name) ?? new Channel(name, this.#subscriptions);
    this.#all.set(name, channel);
    return channel;
  }

  #forgetUnwanted(): void {
    this.#all.forEach(({ isWanted, wire, isOwn }, name) => {
      if (!isWanted && !isOwn && wire <= Wire.Refused) this.#all.delete(name);
    });
  }
}
