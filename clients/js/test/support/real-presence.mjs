// Real gateways with presence, and clients of several users.
import WebSocket from 'ws';
import { GatewayClient } from '../../dist/index.js';
import { eventually } from './deadline.mjs';
import { startGateway } from './gateway.mjs';
import { reaches } from './publishing.mjs';

/** Starts a gateway whose namespace `room` has members, and `hall` has counts. */
export function startPresence(test, settings = {}) {
  return startGateway(test, {
    'presence.enabled': true,
    'presence.grace': '200ms',
    'namespaces.room.presence': 'members',
    'namespaces.hall.presence': 'count',
    'channels.public_namespaces': 'room,hall,online',
    'limits.connects_per_second_per_address': 0,
    ...settings,
  });
}

export const urlOf = ({ public: port }) => `ws://127.0.0.1:${port}/`;

/** Creates a client of a user that reconnects quickly. It ends with the test. */
export function open(test, url, user) {
  const client = new GatewayClient({ url, token: user, WebSocket, backoff: { baseMs: 5, maxMs: 50, stableMs: 1 } });
  test.after(() => client.close());
  return client;
}

/** Connects a client of a user, with these channels. */
export async function enter(test, url, user, ...channels) {
  const client = open(test, url, user);
  const entered = channels.map((channel) => client.subscribe(channel));
  client.connect();
  await reaches(client, 'connected');
  for (const room of entered) await eventually(`${user} is in ${room.channel}`, () => room.state === 'subscribed');
  return client;
}

/** Records the events of these types. */
export function record(handle, ...types) {
  const events = [];
  for (const type of types) handle.on(type, (event) => events.push([type, event]));
  return events;
}

/** All members of a room, by page. */
export async function pagesOf(room) {
  const pages = [];
  for await (const { members } of room.allMembers()) pages.push(members);
  return pages;
}
