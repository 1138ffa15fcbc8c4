// A minimal backend for chat.html: it serves the page and publishes the messages that users send.
//
//   npm install && npm run build && node examples/chat-server.mjs
//
// It needs a gateway in the development profile with the public namespace `room`. In the root of this repository:
//   cargo run --profile quick -- --set channels.public_namespaces=room
//
// Open http://localhost:8000/?user=ada and http://localhost:8000/?user=bob.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const admin = process.env.GATEWAY_ADMIN ?? 'http://localhost:8081';
const file = (path) => readFileSync(new URL(path, import.meta.url));
const pages = {
  '/': ['text/html; charset=utf-8', file('chat.html')],
  '/gateway-client.js': ['text/javascript', file('../dist/bundle/gateway-client.js')],
};
const MAX_BYTES = 4096;

/** Publishes durably, so that clients that reconnect get the message too. The id makes a retry harmless. */
async function publish({ from, text, id }) {
  const message = { from: String(from), text: String(text) };
  const response = await fetch(`${admin}/v1/publish`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ channel: 'room:lobby', message, durable: true, idempotency_key: String(id) }),
    signal: AbortSignal.timeout(10_000),
  });
  return response.status;
}

async function read(request) {
  let body = '';
  for await (const piece of request) {
    body += piece;
    if (body.length > MAX_BYTES) throw new Error('too long');
  }
  return JSON.parse(body);
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (request.method === 'POST' && pathname === '/send') {
    // A real backend takes the user from its own session; here the page sends it.
    const message = await read(request).catch(() => undefined);
    const status = message ? await publish(message).catch(() => 502) : 400;
    return response.writeHead(status).end();
  }
  const [type, page] = pages[pathname] ?? [];
  response.writeHead(page ? 200 : 404, { 'content-type': type ?? 'text/plain' }).end(page);
});
// Accessible only from this machine.
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}/?user=ada`);
});
