// Shows the same room with the examples of React, Vue and Svelte.
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { mount } from 'svelte';
import { createApp } from 'vue';
import { GatewayClient } from '@emagine/gateway-client';
import { App } from '../../examples/react/room.jsx';
import SvelteRoom from '../../examples/svelte/Room.svelte';
import { Room as VueRoom } from '../../examples/vue/room.js';

const FRAMEWORKS = ['react', 'vue', 'svelte'];

window.start = (url) => {
  const client = new GatewayClient({ url, token: '42', backoff: { baseMs: 5, maxMs: 50 } });
  window.stored = [{ id: 1, text: 'one' }];
  window.loads = 0;
  const load = async () => {
    window.loads++;
    return [...window.stored];
  };
  const room = { client, channel: 'room:7', load };
  for (const name of FRAMEWORKS) {
    const element = document.createElement('section');
    element.id = name;
    document.body.append(element);
  }
  const root = createRoot(document.getElementById('react'));
  root.render(
    <StrictMode>
      <App {...room} />
    </StrictMode>,
  );
  createApp(VueRoom, room).mount('#vue');
  mount(SvelteRoom, { target: document.getElementById('svelte'), props: room });
  client.connect();
  window.client = client;
};
window.texts = () => FRAMEWORKS.map((name) => [...document.querySelectorAll(`#${name} li`)].map((item) => item.textContent).join(' '));
