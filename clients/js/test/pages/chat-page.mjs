// Shows the chat in a page.
import { createRoot } from 'react-dom/client';
import { GatewayClient } from '../../dist/index.js';
import { SharedClient } from '../../dist/shared.js';
import { chat } from './chat.mjs';

window.show = (url, token, isShared) => {
  const options = { url, token, backoff: { baseMs: 5, maxMs: 50 } };
  const worker = () => new SharedWorker('/shared-worker.js');
  window.client = isShared ? new SharedClient({ ...options, worker }) : new GatewayClient(options);
  window.client.connect();
  createRoot(document.getElementById('root')).render(chat(window.client));
};
