/** When to look at the connection at once (the page is seen again, the network is back), and when to let it go. */

/**
 * Calls `wake` when it is worth looking at the connection at once, and `rest` when it ends: the page is put away, or the
 * network is gone. Both until the returned function is called.
 */
export type Presence = (wake: (why: string) => void, rest: (why: string) => void) => () => void;

type Listener = (event: { type: string }) => void;

interface EventSource {
  addEventListener?(type: string, listener: Listener): void;
  removeEventListener?(type: string, listener: Listener): void;
  visibilityState?: string;
}

/** The moments that browsers and workers know of. Where there are none (Node, React Native) it does nothing. */
export const browserPresence: Presence = (wake, rest) => {
  const scope = globalThis as EventSource & { document?: EventSource };
  const { document } = scope;
  const onEvent: Listener = ({ type }) => {
    // A page with an open socket does not get into the browser's cache of pages.
    if (type === 'offline' || type === 'pagehide') rest(type);
    else if (type !== 'visibilitychange' || document?.visibilityState === 'visible') wake(type);
  };
  const each = (act: 'addEventListener' | 'removeEventListener') => {
    for (const type of ['online', 'offline', 'pagehide', 'pageshow']) scope[act]?.(type, onEvent);
    for (const type of ['resume', 'visibilitychange']) document?.[act]?.(type, onEvent);
  };
  each('addEventListener');
  return () => each('removeEventListener');
};
