/** Hooks for React 18 and later. They take a client that the app has made, and never connect or close it. */

import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';
import type { ClientState, GatewayClientLike } from './options.js';
import type { ChannelEvent, ChannelEventOf, SubscriptionState } from './subscription.js';

/** The state of a client. The component is rendered again when it changes. */
export function useGatewayState(client: GatewayClientLike): ClientState {
  const listen = useCallback((changed: () => void) => client.on('state', changed), [client]);
  const read = () => client.state;
  return useSyncExternalStore(listen, read, read);
}

export interface UseChannelOptions {
  /** How many of the latest messages are kept. 100. */
  limit?: number;
  /** Where to begin, as `position` of an earlier message says it. */
  since?: string | undefined;
  /** Is called for each event, in order: the place to fetch anew after a `gap`. */
  onEvent?: (event: ChannelEvent) => void;
}

export interface UseChannel {
  state: SubscriptionState;
  /** The latest messages, the oldest first. */
  messages: ReadonlyArray<ChannelEventOf<'message'>>;
  /** The latest gap: something may be missing before what came since. */
  gap: ChannelEventOf<'gap'> | undefined;
}

const NOTHING: UseChannel = { state: 'pending', messages: [], gap: undefined };

/** Listens to a channel as long as the component is mounted. Without a name it listens to nothing. */
export function useChannel(
  client: GatewayClientLike,
  channel: string | null | undefined,
  options: UseChannelOptions = {},
): UseChannel {
  const latest = useRef(options);
  // Always the newest callback, without subscribing again for it.
  useEffect(() => {
    latest.current = options;
  });
  const [heard, setHeard] = useState({ of: channel, value: NOTHING });

  useEffect(() => {
    setHeard({ of: channel, value: NOTHING });
    if (!channel) return;
    const { since } = latest.current;
    const subscription = client.subscribe(channel, since === undefined ? {} : { since });
    const update = (change: (value: UseChannel) => Partial<UseChannel>) => {
      setHeard(({ value }) => ({ of: channel, value: { ...value, state: subscription.state, ...change(value) } }));
    };
    const offs = [
      subscription.on('event', (event) => {
        latest.current.onEvent?.(event);
        update(({ messages }) => {
          if (event.type === 'gap') return { gap: event };
          if (event.type !== 'message') return {};
          return { messages: [...messages, event].slice(-(latest.current.limit ?? 100)) };
        });
      }),
      client.on('state', () => update(() => ({}))),
    ];
    update(() => ({}));
    return () => {
      offs.forEach((off) => off());
      subscription.unsubscribe();
    };
  }, [client, channel]);

  // Until the effect has run, what another channel said is nobody's.
  return heard.of === channel ? heard.value : NOTHING;
}
