// A scripted gateway on a real socket.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { deadline } from './deadline.mjs';
import { LIMITS } from './fake.mjs';

/** Starts the gateway on a free port. It sends Hello, and answers Identify with these channels. Ends with the test. */
export async function startScripted(test, channels) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  let latest;
  server.on('connection', (socket) => {
    latest = socket;
    const send = (frame) => socket.send(JSON.stringify(frame));
    socket.on('message', (text) => {
      const { op, time } = JSON.parse(text);
      if (op === 1) send({ op: 2, user: '42', session: '00', channels });
      if (op === 10) send({ op: 11, time });
    });
    send({ op: 0, heartbeat_interval: 45_000, v: 2, session: '00', limits: LIMITS });
  });
  test.after(() => {
    server.clients.forEach((socket) => socket.terminate());
    return deadline(new Promise((resolve) => server.close(resolve)), 'the scripted gateway stops');
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    /** Sends a frame to the latest client. */
    send: (frame) => latest.send(JSON.stringify(frame)),
    /** Sends data unchanged to the latest client. */
    sendRaw: (data) => latest.send(data),
  };
}
