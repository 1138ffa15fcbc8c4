// A room in Vue: its items come from the app's server, and its messages keep them current. The app mounts a new component
// for another channel: `:key="channel"`.
import { defineComponent, h } from 'vue';
import { useLiveList } from './live-list.js';

export const Room = defineComponent({
  props: ['client', 'channel', 'load'],
  setup({ client, channel, load }) {
    const view = useLiveList(client, channel, { load, key: ({ id }) => id });
    return () => [
      h('p', view.value.isLoading ? 'loading' : view.value.state),
      h('ul', view.value.items.map(({ id, text }) => h('li', { key: id }, text))),
    ];
  },
});
