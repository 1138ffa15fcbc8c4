/** When to look at the connection at once (the page is seen again, the network is back), and when to let it go. */

/**
 * Calls `wake` when it is worth looking at the connection at once, and `rest` when it ends: the page is put away, or the
 * network is gone. Both until the returned function is called.
 */
export type Presence = (wake: (why: string) => void, rest: (why: string) => void) => () => void;

interface EventSource {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
  visibilityState?: string;
}

/** The moments that browsers and workers know of. Where there are none (Node, React Native) it does nothing. */
export const browserPresence: Presence = (wake, rest) => {
  const scope = globalThis as EventSource & { document?: EventSource };
  const { document } = scope;
  const moments: Array<[EventSource | undefined, string, () => void]> = [
    [scope, 'online', () => wake('online')],
    [scope, 'offline', () => rest('offline')],
    // A page with an open socket does not get into the browser's cache of pages.
    [scope, 'pagehide', () => rest('pagehide')],
    [scope, 'pageshow', () => wake('pageshow')],
    [document, 'resume', () => wake('resume')],
    [document, 'visibilitychange', () => document?.visibilityState === 'visible' && wake('visible')],
  ];
  moments.forEach(([source, type, listener]) => source?.addEventListener?.(type, listener));
  return () => moments.forEach(([source, type, listener]) => source?.removeEventListener?.(type, listener));
};
