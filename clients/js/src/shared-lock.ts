/** Locks that say who is alive: a page or a worker holds one as long as it lives, and whoever gets it knows better. */

import type { Off } from './emitter.js';

/** Where there are none (no secure context, no browser), `undefined`. */
export const lockManager = (): LockManager | undefined =>
  (globalThis as { navigator?: { locks?: LockManager } }).navigator?.locks;

/** Holds a lock of its own until it is released, or until this page or worker has ended, however that happens. */
export function holdLock(kind: 'tab' | 'worker'): Promise<{ name: string; release: Off } | undefined> {
  const locks = lockManager();
  if (!locks) return Promise.resolve(undefined);
  const name = `emagine-gateway-${kind}-${Date.now()}-${Math.random()}`;
  return new Promise((resolve) => {
    const held = locks.request(name, () => new Promise<void>((release) => resolve({ name, release })));
    // Not allowed here.
    held.catch(() => resolve(undefined));
  });
}
