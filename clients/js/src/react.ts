'use client';
/** Hooks for React 18 and later. They use the app's client, and never connect or close it. */

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import type { ClientState, GatewayClientLike } from './options.js';
import { SINCE_CONFLICT, type ChannelEvent, type ChannelEventOf, type SubscriptionState } from './subscription.js';

/** The snapshot for server rendering and hydration. */
const readOnServer = (): ClientState => 'idle';

/** The state of a client. A change renders the component again. */
export function useGatewayState(client: GatewayClientLike): ClientState {
  const listen = useCallback((changed: () => void) => client.on('state', changed), [client]);
  return useSyncExternalStore(listen, () => client.state, readOnServer);
}

/** The options of `useChannel`. */
export interface UseChannelOptions {
  /** The number of messages to keep. Default 100. */
  limit?: number;
  /** The position to resume from: the `position` of an earlier message. */
  since?: string | null | undefined;
  /**
   * Begin with this many of the newest stored messages. `messages` begins again with each fresh view:
   * when a reconnect finds that too much was missed.
   */
  last?: number | undefined;
  /** The hook calls it for each event, in order. After a `gap`, load the current data here. */
  onEvent?: (event: ChannelEvent) => void;
}

/** A message with a unique key for React. (Only durable messages have a position.) */
export type KeyedMessage = ChannelEventOf<'message'> & { key: number };

/** The result of `useChannel`. */
export interface UseChannel {
  /** The state of the subscription. */
  state: SubscriptionState;
  /** The latest messages, oldest first. */
  messages: ReadonlyArray<KeyedMessage>;
  /** The latest gap: messages may be missing before those that came after it. */
  gap: ChannelEventOf<'gap'> | undefined;
}

const NOTHING: UseChannel = { state: 'pending', messages: [], gap: undefined };

/** Subscribes to a channel while the component is mounted. Without a name it does nothing. */
export function useChannel(
  client: GatewayClientLike,
  channel: string | null | undefined,
  options: UseChannelOptions = {},
): UseChannel {
  const latest = useRef(options);
  // Use the latest callback without a new subscription.
  useEffect(() => {
    latest.current = options;
  });
  const [heard, setHeard] = useState({ by: client, of: channel, value: NOTHING });

  useEffect(() => {
    const show = (change: (value: UseChannel) => UseChannel) =>
      setHeard(({ by, of, value }) => ({
        by: client,
        of: channel,
        value: change(by === client && of === channel ? value : NOTHING),
      }));
    const reset = () => show(() => NOTHING);
    reset();
    if (!channel) return;
    return listen(client, channel, latest.current, reset, (event, state, key) => {
      if (event) latest.current.onEvent?.(event);
      const { limit = 100 } = latest.current;
      const isFresh = event?.type === 'subscribed' && event.last !== undefined;
      show(({ messages, gap }) => ({
        state,
        messages: event?.type === 'message' ? [...messages, { ...event, key }].slice(-limit) : isFresh ? [] : messages,
        gap: event?.type === 'gap' ? event : gap,
      }));
    });
  }, [client, channel]);

  // Until the effect has run, `heard` may belong to another channel or client.
  return heard.by === client && heard.of === channel ? heard.value : NOTHING;
}

/**
 * Reports each event and change of state, and each restart, until the returned function is called.
 */
function listen(
  client: GatewayClientLike,
  channel: string,
  { since, last }: UseChannelOptions,
  reset: () => void,
  tell: (event: ChannelEvent | undefined, state: SubscriptionState, key: number) => void,
): () => void {
  let key = 0;
  let subscription = begin(since);
  function begin(from?: string | null) {
    const begun = client.subscribe(channel, { since: from, last });
    begun.on('event', (event) => {
      if (begun !== subscription) return;
      if (event.type !== 'refused' || event.reason !== SINCE_CONFLICT) return tell(event, begun.state, key++);
      // Another component already uses the channel: this one continues from its position.
      begun.unsubscribe();
      subscription = begin();
      tell({ type: 'gap', channel, reason: SINCE_CONFLICT }, subscription.state, key++);
    });
    return begun;
  }
  const off = client.on('state', () => {
    // The client was closed and connects again, perhaps for another user: drop earlier messages.
    if (subscription.state === 'closed' && client.state !== 'closed') {
      reset();
      subscription = begin();
    }
    tell(undefined, subscription.state, key);
  });
  tell(undefined, subscription.state, key);
  return () => {
    off();
    subscription.unsubscribe();
  };
}

export { useOnline, useOnlineUsers, usePresence } from './react-presence.js';
export type { OnlineStates, UsePresence, UsePresenceOptions } from './react-presence.js';
export { useHistory, useSend, useSignals, useTyping } from './react-messages.js';
export type {
  PendingMessage,
  UseHistory,
  UseHistoryOptions,
  UseSend,
  UseSignals,
  UseSignalsOptions,
  UseTyping,
} from './react-messages.js';
export { GatewayProvider, useGateway, useRoom } from './react-room.js';
export type { UseRoom } from './react-room.js';
export type { LiveListOptions, LiveListView } from './live-list.js';
