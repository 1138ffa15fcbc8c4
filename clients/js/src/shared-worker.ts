/** The script of the SharedWorker: `new SharedWorker('/shared-worker.js')`. */

import { SharedHub } from './shared-hub.js';
import { holdLock } from './shared-lock.js';
import type { Port } from './shared-messages.js';

const alive = holdLock('worker').then((lock) => lock?.name);
const hub = new SharedHub({}, alive);
(globalThis as unknown as { onconnect: (event: { ports: Port[] }) => void }).onconnect = ({ ports }) => {
  if (ports[0]) hub.serve(ports[0]);
};
