'use client';
/** Hooks for the presence of other users. They use the app's client, and never connect or close it. */

import { useEffect, useRef, useState } from 'react';
import { MemberList } from './member-list.js';
import { online, type OnlineState, type OnlineUser } from './online.js';
import type { GatewayClientLike } from './options.js';
import { presence } from './room.js';

/** The users whose state is known, by user id. */
export type OnlineStates = ReadonlyMap<string, OnlineState>;

const NOBODY: OnlineStates = new Map();

/**
 * Whether a user is online; `undefined` while it is not known, and without a user. The hook
 * subscribes to `online:<user>` while the component is mounted.
 */
export function useOnline(client: GatewayClientLike, user: string | null | undefined): OnlineState | undefined {
  return useOnlineUsers(client, user ? [user] : []).get(user ?? '');
}

/** Which of these users are online. A user whose state is not known is not in the map. */
export function useOnlineUsers(client: GatewayClientLike, users: readonly string[]): OnlineStates {
  const [heard, setHeard] = useState({ by: client, states: NOBODY });
  const following = useRef<Following | undefined>(undefined);
  // The app may pass another array with the same users.
  const wanted = JSON.stringify([...new Set(users)].sort());

  useEffect(() => {
    const opened = new Following(client, (states) => setHeard({ by: client, states }));
    following.current = opened;
    return () => opened.close();
  }, [client]);
  useEffect(() => following.current?.want(JSON.parse(wanted)), [client, wanted]);

  return heard.by === client ? heard.states : NOBODY;
}

/** The users that a component follows. A change of the users leaves the others subscribed. */
class Following {
  readonly #client: GatewayClientLike;
  readonly #onStates: (states: OnlineStates) => void;
  readonly #handles = new Map<string, OnlineUser>();
  readonly #stop: () => void;
  #wanted: readonly string[] = [];

  constructor(client: GatewayClientLike, onStates: (states: OnlineStates) => void) {
    this.#client = client;
    this.#onStates = onStates;
    this.#stop = watchRestarts(client, () => {
      this.#update([]);
      return () => this.#update(this.#wanted);
    });
  }

  want(users: readonly string[]): void {
    this.#wanted = users;
    this.#update(users);
  }

  close(): void {
    this.#stop();
    this.#handles.forEach((handle) => handle.close());
  }

  #update(users: readonly string[]): void {
    for (const [user, handle] of this.#handles) {
      if (users.includes(user)) continue;
      handle.close();
      this.#handles.delete(user);
    }
    for (const user of users) {
      if (this.#handles.has(user)) continue;
      const handle = online(this.#client, user);
      this.#handles.set(user, handle);
      handle.on('change', () => this.#tell());
    }
    this.#tell();
  }

  #tell(): void {
    const states = new Map<string, OnlineState>();
    this.#handles.forEach(({ state }, user) => state && states.set(user, state));
    this.#onStates(states);
  }
}

/** Calls `onClosed` when the client closes, and what that returned when it connects again. */
function watchRestarts(client: GatewayClientLike, onClosed: () => () => void): () => void {
  let restart: (() => void) | undefined;
  return client.on('state', ({ state }) => {
    if (state === 'closed') restart ??= onClosed();
    else if (restart) {
      restart();
      restart = undefined;
    }
  });
}

/** The options of `usePresence`. */
export interface UsePresenceOptions {
  /** The members of a larger room are not listed. Default 200, as `presence.max_members`. */
  maxMembers?: number;
}

/** The result of `usePresence`. */
export interface UsePresence {
  /** The number of sessions or members; `undefined` while it is not known. */
  count: number | undefined;
  /** The members in order. Empty in a large room, and in a namespace without members. */
  members: readonly string[];
  /** Whether `members` has all members. */
  isComplete: boolean;
}

const UNKNOWN: UsePresence = { count: undefined, members: [], isComplete: false };

/** Who is in a room, while the component is mounted. Without a name it does nothing. */
export function usePresence(
  client: GatewayClientLike,
  channel: string | null | undefined,
  { maxMembers = 200 }: UsePresenceOptions = {},
): UsePresence {
  const [heard, setHeard] = useState({ by: client, of: channel, value: UNKNOWN });

  useEffect(() => {
    const show = (value: UsePresence) => setHeard({ by: client, of: channel, value });
    show(UNKNOWN);
    if (!channel) return;
    const open = () => {
      const room = presence(client, channel);
      const list = new MemberList(room, maxMembers, () => {
        const { members, isComplete } = list;
        show({ count: room.count, members, isComplete });
      });
      return list;
    };
    let list = open();
    const stop = watchRestarts(client, () => {
      list.close();
      show(UNKNOWN);
      return () => (list = open());
    });
    return () => {
      stop();
      list.close();
    };
  }, [client, channel, maxMembers]);

  // Until the effect has run, `heard` may belong to another channel or client.
  return heard.by === client && heard.of === channel ? heard.value : UNKNOWN;
}
