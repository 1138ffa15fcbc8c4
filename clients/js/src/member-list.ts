/** The members of a small room as a list: loads the pages, then applies joins and leaves. */

import { PresenceError, strings } from './room.js';
import type { RoomPresence } from './room.js';
import type { ChannelEvent } from './subscription.js';

/** The minimum time between two loads of the same list, in milliseconds. */
const RELOAD_MS = 5_000;

/** Keeps the list of members up to date until `close`. */
export class MemberList {
  /** The members in order, while there are at most `maxMembers`. */
  members: readonly string[] = [];
  /** Whether `members` has all members: all pages are loaded, and each change since is applied. */
  isComplete = false;
  readonly #room: RoomPresence;
  readonly #maxMembers: number;
  readonly #onChange: () => void;
  /** The joins (true) and leaves since the running load has begun. Pages may be older or newer. */
  #since = new Map<string, boolean>();
  /** Counts the loads; only the latest has an effect. */
  #load = 0;
  #isLoading = false;
  /** Joins or leaves were not reported since the latest load has begun. */
  #isOutdated = false;
  /** The gateway does not list this room, for as long as the subscription lasts. */
  #isDenied = false;
  #loadedAt = -Infinity;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(room: RoomPresence, maxMembers: number, onChange: () => void) {
    this.#room = room;
    this.#maxMembers = maxMembers;
    this.#onChange = onChange;
    room.subscription.on('event', (event) => this.#onEvent(event));
  }

  close(): void {
    this.#load++;
    clearTimeout(this.#retry);
    this.#room.close();
  }

  #onEvent(event: ChannelEvent): void {
    if (event.type === 'subscribed') {
      // Joins and leaves were missed meanwhile. The list stays until it is loaded again.
      this.#isDenied = false;
      this.#loadedAt = -Infinity;
      this.#startOver(this.members);
    } else if (event.type === 'refused') {
      this.#startOver([]);
    } else if (event.type === 'presence') {
      this.#apply(strings(event.joined), strings(event.left));
    } else return;
    this.#check();
    this.#onChange();
  }

  #startOver(members: readonly string[]): void {
    this.#load++;
    this.#isLoading = false;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.members = members;
    this.isComplete = false;
  }

  #apply(joined: string[], left: string[]): void {
    // A count that comes alone may hide joins and leaves, also if it is the same.
    if (joined.length + left.length === 0) this.#isOutdated = true;
    const changes = new Map([...joined.map((user) => [user, true] as const), ...left.map((user) => [user, false] as const)]);
    if (this.#isLoading) changes.forEach((isHere, user) => this.#since.set(user, isHere));
    if (this.isComplete) this.members = withChanges(this.members, changes);
  }

  /** Loads the list if the room is small and the list is not complete or has another length. */
  #check(): void {
    const { count } = this.#room;
    if (count === undefined || this.#isDenied) return;
    if (count > this.#maxMembers) return this.#startOver([]);
    if (this.isComplete && !this.#isOutdated && this.members.length === count) return;
    this.isComplete = false;
    if (this.#isLoading || this.#retry !== undefined) return;
    const waitMs = this.#loadedAt + RELOAD_MS - Date.now();
    if (!(waitMs > 0)) return void this.#loadAll();
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      void this.#loadAll();
    }, waitMs);
  }

  async #loadAll(): Promise<void> {
    const load = ++this.#load;
    this.#isLoading = true;
    this.#isOutdated = false;
    this.#since = new Map();
    const found: string[] = [];
    let failed: unknown;
    try {
      for await (const { members } of this.#room.allMembers()) {
        if (load !== this.#load) return;
        found.push(...members);
        if (found.length > this.#maxMembers) break;
      }
    } catch (error) {
      failed = error;
    }
    if (load !== this.#load) return;
    this.#isLoading = false;
    this.#loadedAt = Date.now();
    if (failed) this.#onFailed((failed as PresenceError).code);
    else if (found.length <= this.#maxMembers) {
      this.members = withChanges(found, this.#since);
      this.isComplete = true;
      if (this.#isOutdated) this.#check();
    }
    this.#onChange();
  }

  #onFailed(code: string): void {
    // After `disconnected`, the next subscription loads the list.
    if (code === 'unavailable' || code === 'timeout') return this.#check();
    this.#isDenied = code !== 'disconnected';
  }
}

/** The members after joins (true) and leaves, in byte order. */
function withChanges(members: readonly string[], changes: ReadonlyMap<string, boolean>): string[] {
  const all = new Set(members);
  changes.forEach((isHere, user) => (isHere ? all.add(user) : all.delete(user)));
  return [...all].sort();
}
