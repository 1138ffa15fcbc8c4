/** Locks that show which side is alive: a page or a worker holds one while it lives. */

import type { Off } from './emitter.js';

/** `undefined` without locks (no secure context, no browser). */
export const lockManager = (): LockManager | undefined =>
  (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks;

/** Holds a new lock until it is released, or until this page or worker has ended in any way. */
export function holdLock(kind: 'tab' | 'worker'): Promise<{ name: string; release: Off } | undefined> {
  const locks = lockManager();
  if (!locks) return Promise.resolve(undefined);
  const name = `emagine-gateway-${kind}-${Date.now()}-${Math.random()}`;
  return new Promise((resolve) => {
    const held = locks.request(name, () => new Promise<void>((release) => resolve({ name, release })));
    // Locks are not allowed here.
    held.catch(() => resolve(undefined));
  });
}
