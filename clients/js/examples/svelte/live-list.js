// A LiveList as a Svelte store. Copy it into an app.
import { LiveList } from '@emagine/gateway-client/live-list';

/** The view of a list while a component uses it: `items`, `state`, `isLoading`, `error`. */
export function liveList(client, channel, options) {
  const list = new LiveList(client, channel, options);
  return {
    subscribe(run) {
      run(list.view);
      return list.listen(() => run(list.view));
    },
  };
}
