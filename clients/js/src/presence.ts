/** When to check the connection at once (the page is visible again, the network is back), and when to close it. */

/**
 * Calls `wake` when the connection should be checked at once, and `rest` when it should close: on `pagehide`, or when
 * the network is lost. Stops when the returned function is called.
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
    // Browsers do not put a page with an open socket into their back/forward cache.
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
