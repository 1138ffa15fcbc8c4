// A consumer in Node that stores its position and resumes from it after a restart.
//
//   npm install <the package, see ../README.md#install> ws
//   GATEWAY=ws://localhost:8080/ TOKEN=42 node consumer.mjs user:42
import { readFileSync, writeFileSync } from 'node:fs';
import { GatewayClient } from '@emagine/gateway-client';
import WebSocket from 'ws';

const channel = process.argv[2] ?? 'all';
const file = `${channel.replace(/[^\w-]/g, '_')}.position`;

function lastPosition() {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    return undefined;
  }
}

const client = new GatewayClient({
  url: process.env.GATEWAY ?? 'ws://localhost:8080/',
  token: process.env.TOKEN ?? '42',
  WebSocket,
  log: (what, detail) => process.env.DEBUG && console.error(what, detail),
});
const since = lastPosition();
const events = client.subscribe(channel, since ? { since } : {});
client.connect();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => client.close());

for await (const event of events) {
  if (event.type === 'message') console.log(JSON.stringify(event.message));
  if (event.type === 'gap') console.error(`messages on ${channel} may be missing (${event.reason}): reload the channel`);
  // Stored after the message is processed: after a crash before this line, the message arrives again.
  if ((event.type === 'message' || event.type === 'gap') && event.position) writeFileSync(file, event.position);
}
