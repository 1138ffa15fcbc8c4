// Publishes durable messages in order on several channels while sockets are cut, and checks what arrived.
import assert from 'node:assert/strict';
import { deadline, eventually } from './deadline.mjs';

export const CHANNELS = ['user:42', 'all', 'room:7'];
/** How far the publisher may be ahead of the reader: less than the length of a history (1000). */
const AHEAD = 300;

/**
 * Publishes until the proxy has made its cuts, then waits until all messages have arrived. `count` returns how many
 * messages of a channel have arrived; it may be asynchronous.
 */
export async function publishThroughCuts({ gateways, proxy, count, cuts }) {
  const published = Object.fromEntries(CHANNELS.map((channel) => [channel, 0]));
  proxy.cutsLeft = cuts;
  proxy.cutAll();
  const end = Date.now() + 120_000;
  for (let turn = 0; proxy.cutsMade < cuts; turn++) {
    assert.ok(Date.now() < end, `only ${proxy.cutsMade} cuts were made`);
    // Each channel has one publication at a time, so the order is known.
    const { publish } = gateways[turn % gateways.length];
    const pad = 'x'.repeat(turn % 200);
    await Promise.all(CHANNELS.map((channel) => publish(channel, { n: ++published[channel], pad })));
    if (turn % 20 === 0) {
      for (const channel of CHANNELS) {
        const near = async () => (await count(channel)) > published[channel] - AHEAD || proxy.cutsMade >= cuts;
        await eventually(`the reader of ${channel} keeps up`, near);
      }
    }
  }
  for (const channel of CHANNELS) {
    const all = async () => (await count(channel)) >= published[channel];
    await eventually(`all ${published[channel]} messages of ${channel} arrive`, all);
  }
  return published;
}

/** Asserts that every message arrived once and in order, without a gap. */
export function assertOnceAndInOrder(received, published, gaps) {
  for (const channel of CHANNELS) {
    const expected = Array.from({ length: published[channel] }, (_, index) => index + 1);
    assert.deepEqual(received[channel], expected, channel);
  }
  assert.deepEqual(gaps, []);
}

/** Waits until a client has this state. */
export function reaches(client, state) {
  if (client.state === state) return Promise.resolve();
  const reached = new Promise((resolve) => {
    const off = client.on('state', (event) => {
      if (event.state !== state) return;
      off();
      resolve(event);
    });
  });
  return deadline(reached, `the client is ${state}`);
}
