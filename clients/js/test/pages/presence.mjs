// Shows presence, or hydrates a page that shows it.
import { createRoot, hydrateRoot } from 'react-dom/client';
import { GatewayClient } from '../../dist/index.js';
import { people } from './people.mjs';

window.connect = (url) => {
  window.client = new GatewayClient({ url, token: '42', backoff: { baseMs: 5, maxMs: 50 } });
  window.client.connect();
};
window.show = () => {
  window.faults = [];
  const root = document.getElementById('root');
  const onRecoverableError = (error) => window.faults.push(String(error));
  if (root.hasChildNodes()) window.root = hydrateRoot(root, people(window.client), { onRecoverableError });
  else (window.root = createRoot(root)).render(people(window.client));
};
