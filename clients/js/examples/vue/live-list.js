// A LiveList as a Vue composable. Copy it into an app.
import { onScopeDispose, shallowRef } from 'vue';
import { LiveList } from '@emagine/gateway-client/live-list';

/** The view of a list while the component is mounted: `items`, `state`, `isLoading`, `error`. */
export function useLiveList(client, channel, options) {
  const list = new LiveList(client, channel, options);
  const view = shallowRef(list.view);
  onScopeDispose(list.listen(() => (view.value = list.view)));
  return view;
}
