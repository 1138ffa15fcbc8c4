/**
 * All channels of a client: which the app wants, which were requested, and the position of each.
 *
 * The rule of the cursor: it moves past a message after the message was delivered to the app, and
 * to another position only after the app got a gap. So the app has received everything up to the
 * position that is sent as `since`.
 */

import type { Backoff } from './backoff.js';
import type { Timer } from './environment.js';
import { MAX_BATCH } from './limits.js';
import { Op, text } from './protocol.js';
import type { ChannelRequest, ChannelState, Requester, ServerFrame, SubscriptionAnswer } from './protocol.js';
import { Channel, subscribe, Wire } from './subscription.js';
import type { SubscribeOptions, Subscription, SubscriptionContext } from './subscription.js';

/** The callbacks of the client that Channels uses. */
export interface ChannelsContext extends Omit<SubscriptionContext, 'own' | 'onWanted'> {
  /** There may be a command to send: call `nextCommand` soon. */
  onDirty(): void;
  /** Runs a task after the queued events, unless the session has ended by then. */
  push(task: () => void): void;
  /** When to retry unavailable channels. */
  retry: Timer;
  backoff: Backoff;
}

/** The type of the event that a frame of a channel becomes, by its `op`. */
const EVENTS: Record<number, string> = { 3: 'message', 8: 'gap', 14: 'presence', 18: 'signal' };

/** The entries of a list from the gateway that have the name of a channel. */
const named = (list: unknown): any[] => ([] as any[]).concat(list).filter((one) => text(one?.channel));

/** All channels of a client. */
export class Channels {
  readonly #context: ChannelsContext;
  /** The parts of the library that send other requests, if the app uses them. */
  readonly requesters = new Set<Requester>();
  readonly #all = new Map<string, Channel>();
  readonly #subscriptions: SubscriptionContext;

  constructor(context: ChannelsContext) {
    this.#context = context;
    this.#subscriptions = { ...context, own: [], onWanted: (channel, isMoved) => this.#onWanted(channel, isMoved) };
  }

  subscribe(name: string, options: SubscribeOptions | undefined): Subscription {
    return subscribe(name, options, this.#subscriptions, () => this.#find(name));
  }

  /** The channels to subscribe to now, in at most `maxBytes`. The others are requested later. */
  requests(maxBytes: number): ChannelRequest[] {
    return this.#batch(maxBytes, Wire.Subscribing, ({ wire }) => wire === Wire.Off);
  }

  /** Ready: these are the channels of the session. */
  onReady(user: string, states: unknown): void {
    // The user may have changed, and the own channels with it.
    this.#subscriptions.own = [`user:${user}`, 'all'];
    this.#all.forEach((channel) => {
      channel.isGiven = false;
      if (!channel.isKept) channel.wire = Wire.Off;
    });
    named(states).forEach((state) => this.#onState(this.#find(state.channel), state));
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
    this.#all.forEach((channel) => channel.forget());
    this.#subscriptions.own = [];
    this.#forgetUnwanted();
  }

  /** A frame of a channel. Others are ignored, like an op that a later gateway adds. */
  onFrame(frame: ServerFrame): void {
    const { op, count, ...told } = frame as any;
    if (op === Op.Subscription) return named(told.channels ?? [frame]).forEach((answer) => this.#onAnswer(answer));
    const channel = this.#all.get(told.channel);
    const type = EVENTS[op];
    if (!type || channel?.wire !== Wire.On) return;
    this.#later(channel, () => channel.give({ ...told, ...(op === Op.Presence && { presence: { count } }), type }));
  }

  /** The next command to send, in at most `maxBytes`. It counts as sent. */
  nextCommand(maxBytes: number): object | undefined {
    const isLeft = ({ wire, isKept, isStale }: Channel) => wire >= Wire.Recovering && (isStale || !isKept);
    const left = this.#batch(maxBytes, Wire.Unsubscribing, isLeft);
    // First, because the number of subscriptions is limited.
    if (left.length) return { op: Op.Unsubscribe, channels: left.map(({ channel }) => channel) };
    const channels = this.requests(maxBytes);
    if (channels.length) return { op: Op.Subscribe, channels };
    let frame: object | undefined;
    this.requesters.forEach((requester) => (frame ??= requester.next()));
    return frame;
  }

  /** The budget delays the requests. The app is told once for each channel. */
  onDelayed(retryInMs: number): void {
    this.#all.forEach((channel, name) =>
      this.#context.push(() => {
        const isDelayed = channel.wire === Wire.Off && !channel.lastState;
        if (isDelayed) channel.give({ type: 'pending', channel: name, reason: 'rate_limited', retryInMs });
      }),
    );
  }

  /** Requests refused channels again: all, or those refused for this reason. */
  askAgain(reason?: string): void {
    this.#all.forEach((channel) => {
      if (channel.wire === Wire.Refused && (!reason || channel.reason === reason)) channel.wire = Wire.Off;
    });
    this.#context.onDirty();
  }

  /** Ends every subscription. */
  close(): void {
    this.#all.forEach(({ subscriptions }) => subscriptions.forEach((subscription) => subscription.unsubscribe()));
  }

  #onAnswer(frame: SubscriptionAnswer): void {
    const channel = this.#all.get(frame.channel);
    if (!channel) return;
    const { wire, reason: before } = channel;
    const { state, reason = state } = frame as { state: string; reason?: string };
    if (state === 'unsubscribed' && wire === Wire.Unsubscribing) {
      channel.wire = Wire.Off;
      channel.isStale = false;
      this.#forgetUnwanted();
    } else if (reason === 'already_subscribed') {
      // By the backend. Its position is not known here, so unsubscribe and subscribe again.
      channel.wire = Wire.On;
      channel.isStale = true;
    } else if (state === 'refused' || state === 'unsubscribed') {
      // Refused, or revoked because a new token allows fewer channels.
      channel.wire = Wire.Refused;
      channel.isStale = false;
      const { retry, backoff } = this.#context;
      // For now: the gateway may not subscribe to the channel at the moment.
      if (reason === 'unavailable' && !retry.isSet) retry.set(backoff.next(), () => this.askAgain(reason));
      this.#context.push(() => {
        // Refused again for the same reason: the app already knows.
        if (before !== reason) channel.give({ type: 'refused', channel: channel.name, reason });
        this.#forgetUnwanted();
      });
    } else if (wire === Wire.Subscribing || wire === Wire.Recovering) {
      this.#onState(channel, frame as ChannelState);
    }
    this.#context.onDirty();
  }

  #onState(channel: Channel, { op, state, recovered, ...told }: ChannelState): void {
    // The cursor stays: if the socket ends now, the next one sends the same position.
    if (state === 'recovering') {
      channel.wire = Wire.Recovering;
      return this.#later(channel, () => channel.give({ type: state, channel: told.channel }));
    }
    channel.wire = Wire.On;
    this.#context.backoff.tries = 0;
    let since: string | undefined;
    this.#later(channel, () => {
      since = channel.cursor;
      // Too much was missed: instead of continuing here, the app gets a fresh view.
      if (since && recovered === false && channel.last && !channel.isFixed) {
        channel.cursor = '';
        channel.isStale = true;
        return this.#context.onDirty();
      }
      channel.cursor ??= text(told.position);
      channel.give({ ...told, type: 'subscribed' });
    });
    this.#later(channel, () => {
      if (since === undefined) return;
      if (since && recovered === true) channel.give({ ...told, type: 'recovered' });
      else channel.give({ ...told, type: 'gap', reason: 'not_recovered' });
    });
  }

  /** Runs a task in the order of events, if the channel is still wanted then. */
  #later(channel: Channel, task: () => void): void {
    this.#context.push(() => {
      // The channel is about to be unsubscribed: its events are not delivered or counted.
      if (!channel.isKept) channel.isStale = true;
      if (channel.isStale) channel.lastState = undefined;
      else task();
    });
  }

  /** The requests for a frame of at most `maxBytes`. They count as sent: the channels get this state. */
  #batch(maxBytes: number, wire: Wire, isMeant: (channel: Channel) => unknown): ChannelRequest[] {
    let bytes = 0;
    // Own channels first: they cannot be requested later.
    const channels = [...this.#all.values()].filter(isMeant).sort((one, other) => +other.isFixed - +one.isFixed);
    return channels.slice(0, MAX_BATCH).flatMap((channel) => {
      // Empty: the position is lost. JSON omits it.
      const request = { channel: channel.name, since: channel.cursor || undefined, last: channel.last || undefined };
      bytes += JSON.stringify(request).length + 1;
      if (bytes > maxBytes) return [];
      if (channel.state !== 'refused') channel.lastState = undefined;
      channel.wire = wire;
      return request;
    });
  }

  #onWanted(channel: Channel, isMoved: boolean): void {
    if (isMoved && !channel.isFixed && channel.wire >= Wire.Subscribing) {
      channel.isStale = true;
      channel.lastState = undefined;
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
    this.#all.forEach(({ isKept, wire }, name) => {
      if (!isKept && wire <= Wire.Refused) this.#all.delete(name);
    });
  }
}
