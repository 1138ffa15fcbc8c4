/**
 * When to check the connection at once (the page is visible, the network is back), and when to
 * close it.
 */

/**
 * Calls `wake` when the connection should be checked at once, and `rest` when it should close: on
 * `pagehide`, or when the network is lost. The returned function stops it.
 */
export type Presence = (wake: (why: string) => void, rest: (why: string) => void) => () => void;

type Listener = (event: { type: string }) => void;

interface EventSource {
  addEventListener?(type: string, listener: Listener): void;
  removeEventListener?(type: string, listener: Listener): void;
  visibilityState?: string;
}

/** The events of browsers and workers. It does nothing in Node and React Native. */
export const browserPresence: Presence = (wake, rest) => {
  const scope = globalThis as EventSource & { document?: EventSource };
  const { document } = scope;
  const onEvent: Listener = ({ type }) => {
    // Browsers do not put a page with an open socket into their back/forward cache.
    if (type === 'offline' || type === 'pagehide') rest(type);
    else if (type !== 'visibilitychange' || document?.visibilityState === 'visible') wake(type);
  };
  const each = (act: 'addEventListener' | 'removeEventListener') => {
    for (const type of ['online', 'offline', 'pagehide', 'pageshow', 'resume', 'visibilitychange']) {
      (/^[rv]/.test(type) ? document : scope)?.[act]?.(type, onEvent);
    }
  };
  each('addEventListener');
  return () => each('removeEventListener');
};

/** The events of a tab with a shared socket: it leaves the worker on `pagehide`, and closes nothing. */
export function watchTab(presence: Presence = browserPresence, wake: (why: string) => void, leave: () => void): () => void {
  const stop = presence(wake, () => {});
  const scope = globalThis as EventSource;
  scope.addEventListener?.('pagehide', leave);
  return () => {
    stop();
    scope.removeEventListener?.('pagehide', leave);
  };
}
