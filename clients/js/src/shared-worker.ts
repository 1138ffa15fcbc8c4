/** The script of the SharedWorker: `new SharedWorker('/shared-worker.js')`. */

import { SharedHub, type Port } from './shared-hub.js';

const hub = new SharedHub();
(globalThis as unknown as { onconnect: (event: { ports: Port[] }) => void }).onconnect = ({ ports }) => {
  if (ports[0]) hub.serve(ports[0]);
};
