// Tabs and their shared worker in one process, with real message ports and fake or real sockets.
import { MessageChannel } from 'node:worker_threads';
import { SharedClient } from '../../dist/shared.js';
import { SharedHub } from '../../dist/shared-hub.js';
import { eventually } from './deadline.mjs';
import { FakeSocket, LIMITS } from './fake.mjs';

/** Starts a worker; returns its fake sockets and functions that open tabs and accept fake sockets. */
export function startWorker(test, RealSocket) {
  const sockets = [];
  const WebSocket = function (url) {
    if (RealSocket) return new RealSocket(url);
    const socket = new FakeSocket(url);
    sockets.push(socket);
    return socket;
  };
  const hub = new SharedHub({ WebSocket });
  const open = (options = {}) => {
    const { port1, port2 } = new MessageChannel();
    hub.serve(port2);
    const tab = new SharedClient({ url: 'ws://gateway.test/', token: '42', worker: port1, ...options });
    const events = [];
    tab.on('event', (event) => events.push(event));
    test.after(() => {
      tab.close();
      port1.close();
    });
    return { tab, events, port: port1, workerPort: port2 };
  };
  /** Accepts the latest socket with Hello and Ready. */
  const accept = async (nth, channels = []) => {
    await eventually('a socket is opened', () => sockets.length === nth);
    const socket = sockets[nth - 1];
    socket.receive({ op: 0, heartbeat_interval: 45_000, limits: LIMITS });
    const [identify] = socket.ops(1);
    const own = ['user:42', 'all'].map((channel) => ({ channel, position: '1-0' }));
    socket.receive({ op: 2, user: '42', channels: [...own, ...channels] });
    return { socket, identify };
  };
  return { sockets, open, accept };
}
