// A FakeGateway on a real socket.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { FakeGateway } from '../../dist/testing.js';
import { deadline } from './deadline.mjs';

/** Starts a gateway on a free port. Returns it with its `url`, and `sendRaw` for bytes. It ends with the test. */
export async function startScripted(test, gateway = new FakeGateway()) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  server.on('connection', (socket) => {
    if (gateway.isDown) return socket.terminate();
    const connection = gateway.accept({
      send: (text) => socket.send(text),
      close: (code, reason) => (code === 1006 ? socket.terminate() : socket.close(code, reason)),
    });
    socket.on('message', (text) => connection.receive(String(text)));
    socket.on('close', () => connection.end());
  });
  test.after(() => {
    server.clients.forEach((socket) => socket.terminate());
    return deadline(new Promise((resolve) => server.close(resolve)), 'the scripted gateway stops');
  });
  const sendRaw = (data) => server.clients.forEach((socket) => socket.send(data));
  return Object.assign(gateway, { url: `ws://127.0.0.1:${server.address().port}/`, sendRaw });
}
