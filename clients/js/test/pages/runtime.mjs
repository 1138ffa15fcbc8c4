// Receives durable messages while its connection is cut, in any runtime. Prints what it received as JSON.
import { GatewayClient } from '../../dist/index.js';

const { GATEWAY_URL: url, ADMIN_URL: admin } = globalThis.process.env;
// Node 20 has no WebSocket.
const WebSocket = globalThis.WebSocket ?? (await import('ws')).default;
// Node 22 does not report a handshake that the server ends: the client's timeout notices it.
const client = new GatewayClient({ url, token: '42', WebSocket, backoff: { baseMs: 5, maxMs: 50 }, connectTimeoutMs: 1_000 });
const received = [];
let gaps = 0;
client.on('gap', () => gaps++);
const done = new Promise((resolve) => {
  client.subscribe('room:7').on('message', ({ message }) => {
    received.push(message.n);
    if (message.n === 99) resolve();
  });
});
const connected = new Promise((resolve) => client.on('subscribed', ({ channel }) => channel === 'room:7' && resolve()));
client.connect();
await connected;
for (let n = 0; n < 100; n++) {
  const body = JSON.stringify({ channel: 'room:7', message: { n }, durable: true });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${admin}/v1/publish`, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(await response.text());
}
await done;
client.close();
const { versions } = globalThis.process;
const name = ['bun', 'deno', 'node'].find((one) => versions[one]);
console.log(JSON.stringify({ runtime: `${name} ${versions[name]}`, received, gaps }));
globalThis.process.exit(0);
