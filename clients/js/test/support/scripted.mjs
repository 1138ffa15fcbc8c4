// A gateway that says what a test tells it, on a real socket.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { deadline } from './deadline.mjs';
import { LIMITS } from './fake.mjs';

/** Starts it on a free port. It greets each client, and answers Identify with these channels. Ended with the test. */
export async function startScripted(test, channels) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  let latest;
  server.on('connection', (socket) => {
    latest = socket;
    const say = (frame) => socket.send(JSON.stringify(frame));
    socket.on('message', (text) => {
      const { op, time } = JSON.parse(text);
      if (op === 1) say({ op: 2, user: '42', session: '00', channels });
      if (op === 10) say({ op: 11, time });
    });
    say({ op: 0, heartbeat_interval: 45_000, v: 2, session: '00', limits: LIMITS });
  });
  test.after(() => {
    server.clients.forEach((socket) => socket.terminate());
    return deadline(new Promise((resolve) => server.close(resolve)), 'the scripted gateway ends');
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    /** Says this to the latest client. */
    say: (frame) => latest.send(JSON.stringify(frame)),
    /** Says this as it is. */
    sayRaw: (data) => latest.send(data),
  };
}
