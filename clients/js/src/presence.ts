/** When it is worth looking at the connection at once: the network is back, the page is seen again, the machine woke up. */

/** Calls `wake` at such a moment, until the returned function is called. */
export type Presence = (wake: (why: string) => void) => () => void;

interface EventSource {
  addEventListener?(type: string, listener: () => void): void;
  removeEventListener?(type: string, listener: () => void): void;
  visibilityState?: string;
}

/** The moments that browsers and workers know of. Where there are none (Node, React Native) it does nothing. */
export const browserPresence: Presence = (wake) => {
  const scope = globalThis as EventSource & { document?: EventSource };
  const { document } = scope;
  const wakes: Array<[EventSource | undefined, string, () => void]> = [
    [scope, 'online', () => wake('online')],
    // Back from the browser's cache of pages, or from being frozen.
    [scope, 'pageshow', () => wake('pageshow')],
    [document, 'resume', () => wake('resume')],
    [document, 'visibilitychange', () => document?.visibilityState === 'visible' && wake('visible')],
  ];
  wakes.forEach(([source, type, listener]) => source?.addEventListener?.(type, listener));
  return () => wakes.forEach(([source, type, listener]) => source?.removeEventListener?.(type, listener));
};
