// Hydrates a server-rendered page with a client that is already connected.
import { hydrateRoot } from 'react-dom/client';
import { GatewayClient } from '../../dist/index.js';
import { app } from './room.mjs';

window.connect = (url) => {
  window.client = new GatewayClient({ url, token: '42', backoff: { baseMs: 5, maxMs: 50 } });
  window.client.connect();
};
window.hydrate = () => {
  window.faults = [];
  hydrateRoot(document.getElementById('root'), app(window.client), {
    onRecoverableError: (error) => window.faults.push(String(error)),
  });
};
