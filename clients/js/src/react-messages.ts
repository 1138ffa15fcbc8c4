'use client';
/** Hooks for messages, signals and history. They use the app's client, and never connect or close it. */

import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { history, type StoredMessage } from './history.js';
import type { GatewayClientLike } from './options.js';
import { Outbox } from './outbox.js';
import { send } from './send.js';
import { signal } from './signals.js';

/** A message that the gateway has not acknowledged. */
export interface PendingMessage {
  id: string;
  message: any;
  /** Why it was not sent, if so: `retry` or `discard` it. */
  error: unknown;
}

/** The result of `useSend`. */
export interface UseSend {
  /** Sends a message. It is in `pending` until the gateway acknowledges it. */
  send(message: unknown): void;
  /** The messages of this component that are not acknowledged, oldest first. */
  pending: readonly PendingMessage[];
  /** Sends a message with an error again, with the same id. */
  retry(id: string): void;
  /** Removes a message with an error. */
  discard(id: string): void;
}

/** Sends messages on a channel. Those of a component that unmounts are sent nevertheless. */
export function useSend(client: GatewayClientLike, channel: string): UseSend {
  const [pending, setPending] = useState<readonly PendingMessage[]>([]);
  const actions = useMemo(() => {
    const update = (id: string, change: (message: PendingMessage) => PendingMessage[]) =>
      setPending((all) => all.flatMap((one) => (one.id === id ? change(one) : [one])));
    const attempt = (id: string, message: unknown) => {
      send(client, channel, message, { id }).then(
        () => update(id, () => []),
        (error: unknown) => update(id, (one) => [{ ...one, error }]),
      );
    };
    return {
      send(message: unknown) {
        const id = Outbox.of(client).nextId();
        setPending((all) => [...all, { id, message, error: undefined }]);
        attempt(id, message);
      },
      retry(id: string, message: unknown) {
        update(id, (one) => [{ ...one, error: undefined }]);
        attempt(id, message);
      },
      discard: (id: string) => update(id, (one) => (one.error === undefined ? [one] : [])),
    };
  }, [client, channel]);
  // Those of an earlier channel or client are not shown.
  useEffect(() => () => setPending([]), [actions]);

  const retry = (id: string) => {
    const failed = pending.find((one) => one.id === id && one.error !== undefined);
    if (failed) actions.retry(id, failed.message);
  };
  return { ...actions, retry, pending };
}

/** The options of `useSignals` and `useTyping`. */
export interface UseSignalsOptions {
  /** How long a signal is shown if no newer one comes from its user. Milliseconds, default 5000. */
  holdMs?: number;
}

/** The result of `useSignals`. */
export interface UseSignals {
  /** The newest signal of each user. */
  signals: ReadonlyMap<string, any>;
  /** Sends a signal to the other sessions of the channel. */
  signal(value: unknown): void;
}

const NO_SIGNALS: ReadonlyMap<string, any> = new Map();

/** Follows the signals of a channel while the component is mounted. Without a name it does nothing. */
export function useSignals(
  client: GatewayClientLike,
  channel: string | null | undefined,
  { holdMs = 5_000 }: UseSignalsOptions = {},
): UseSignals {
  const [heard, setHeard] = useState({ by: client, of: channel, signals: NO_SIGNALS });

  useEffect(() => {
    if (!channel) return;
    const timers = new Map<string, ReturnType<typeof setTimeout>>();
    const signals = new Map<string, unknown>();
    const show = () => setHeard({ by: client, of: channel, signals: new Map(signals) });
    const clear = () => {
      timers.forEach((timer) => clearTimeout(timer));
      timers.clear();
      signals.clear();
    };
    const open = () => {
      const subscription = client.subscribe(channel);
      subscription.on('signal', ({ user, signal: value }) => {
        clearTimeout(timers.get(user));
        signals.set(user, value);
        timers.set(
          user,
          setTimeout(() => {
            signals.delete(user);
            show();
          }, holdMs),
        );
        show();
      });
      return subscription;
    };
    show();
    let subscription = open();
    const off = client.on('state', ({ state }) => {
      // The client was closed and connects again, perhaps for another user.
      if (subscription.state !== 'closed' || state === 'closed') return;
      clear();
      show();
      subscription = open();
    });
    return () => {
      off();
      clear();
      subscription.unsubscribe();
    };
  }, [client, channel, holdMs]);

  const tell = useCallback((value: unknown) => void (channel && signal(client, channel, value)), [client, channel]);
  // Until the effect has run, `heard` may belong to another channel or client.
  return { signals: heard.by === client && heard.of === channel ? heard.signals : NO_SIGNALS, signal: tell };
}

/** A user who types sends a signal again after this time. Milliseconds. */
const TYPING_MS = 2_000;

/** The result of `useTyping`. */
export interface UseTyping {
  /** The users who are typing. */
  users: readonly string[];
  /** Call it for each key, and with `false` when the message is sent or discarded. */
  typing(isTyping?: boolean): void;
}

/** Who is typing on a channel: signals `{ "typing": true }`. */
export function useTyping(
  client: GatewayClientLike,
  channel: string | null | undefined,
  options: UseSignalsOptions = {},
): UseTyping {
  const { signals, signal: tell } = useSignals(client, channel, options);
  const toldAt = useRef(-Infinity);
  const typing = useCallback(
    (isTyping = true) => {
      const now = Date.now();
      const isRecent = now - toldAt.current < TYPING_MS;
      if (isTyping ? isRecent : toldAt.current === -Infinity) return;
      toldAt.current = isTyping ? now : -Infinity;
      tell({ typing: isTyping });
    },
    [tell],
  );
  const users = useMemo(() => [...signals].filter(([, value]) => value?.typing === true).map(([user]) => user).sort(), [signals]);
  return { users, typing };
}

/** The options of `useHistory`. */
export interface UseHistoryOptions {
  /** The position of the oldest message that the app shows. Read when `loadMore` is called first. */
  before?: string | undefined;
  /** The number of messages of a page. Default 50. */
  limit?: number | undefined;
}

/** The result of `useHistory`. */
export interface UseHistory {
  /** The messages that were loaded, oldest first. */
  messages: readonly StoredMessage[];
  /** Whether there may be earlier messages. */
  more: boolean;
  isLoading: boolean;
  /** Why the latest page was not loaded. */
  error: unknown;
  /** Loads the page with the earlier messages. */
  loadMore(): void;
}

const UNREAD = { messages: [] as readonly StoredMessage[], more: true, isLoading: false, error: undefined as unknown };

/** Earlier messages of a channel, loaded when the app asks. A fresh view of the channel begins again. */
export function useHistory(
  client: GatewayClientLike,
  channel: string | null | undefined,
  options: UseHistoryOptions = {},
): UseHistory {
  const [value, setValue] = useState(UNREAD);
  const latest = useRef({ options, value, view: 0 });
  useEffect(() => {
    latest.current.options = options;
  });
  const show = useCallback((change: Partial<typeof UNREAD>) => {
    const { current } = latest;
    setValue((current.value = { ...current.value, ...change }));
  }, []);

  useEffect(() => {
    const reset = () => {
      latest.current.view++;
      show(UNREAD);
    };
    reset();
    return client.on('subscribed', ({ channel: name, last }) => {
      if (name === channel && last !== undefined) reset();
    });
  }, [client, channel, show]);

  const loadMore = useCallback(() => {
    const { options: wanted, value: read, view } = latest.current;
    if (!channel || read.isLoading || !read.more) return;
    show({ isLoading: true, error: undefined });
    const before = read.messages[0]?.position ?? wanted.before;
    const ifCurrent = (change: Partial<typeof UNREAD>) => latest.current.view === view && show({ ...change, isLoading: false });
    history(client, channel, { before, limit: wanted.limit }).then(
      ({ messages, more }) => ifCurrent({ messages: [...messages, ...read.messages], more }),
      (error: unknown) => ifCurrent({ error }),
    );
  }, [client, channel, show]);

  return { ...value, loadMore };
}
