'use client';
/** The client of a React app, and lists that a channel keeps current. */

import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import type { ReactElement, ReactNode } from 'react';
import { LiveList, type LiveListOptions, type LiveListView } from './live-list.js';
import type { GatewayClientLike } from './options.js';

const ClientContext = createContext<GatewayClientLike | undefined>(undefined);

/** Gives the components below it the app's client. It neither connects nor closes it. */
export function GatewayProvider({ client, children }: { client: GatewayClientLike; children?: ReactNode }): ReactElement {
  return createElement(ClientContext.Provider, { value: client }, children);
}

/**
 * The client of the nearest GatewayProvider.
 *
 * @throws Error if there is none.
 */
export function useGateway(): GatewayClientLike {
  const client = useContext(ClientContext);
  if (!client) throw new Error('this component needs a <GatewayProvider client={…}> around it');
  return client;
}

/** The result of `useRoom`. */
export interface UseRoom<Item> extends LiveListView<Item> {
  /** Loads the items again. */
  reload(): void;
}

const EMPTY: LiveListView<never> = { items: [], state: 'pending', isLoading: true, error: undefined };

/**
 * A list that the app loads from its own server, kept current by a channel's messages while the
 * component is mounted. Without a name it does nothing. The latest functions are used, so they may be
 * written inline.
 */
export function useRoom<Item, Message = Item>(
  channel: string | null | undefined,
  options: LiveListOptions<Item, Message>,
): UseRoom<Item> {
  const client = useGateway();
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const list = useMemo(
    () => (channel ? new LiveList<Item, Message>(client, channel, () => latest.current) : undefined),
    [client, channel],
  );
  const listen = useCallback((changed: () => void) => list?.listen(changed) ?? (() => {}), [list]);
  const read = () => list?.view ?? EMPTY;
  const view = useSyncExternalStore<LiveListView<Item>>(listen, read, () => EMPTY);
  const reload = useCallback(() => list?.reload(), [list]);
  return { ...view, reload };
}
