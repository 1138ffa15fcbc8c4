// A scripted gateway with users and one room, on a real socket.
import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { deadline } from './deadline.mjs';
import { LIMITS } from './fake.mjs';

export const ROOM = 'room:7';
const PAGE = 2;

/** Starts the gateway on a free port. It ends with the test. */
export async function startPresenceGateway(test) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const online = new Set();
  const members = new Set();
  /** The numbers of channels that were subscribed, also by Identify, and unsubscribed. */
  const seen = { subscribe: 0, unsubscribe: 0 };
  let time = 1_000;
  const isOnline = (channel) => ({ online: online.has(channel.slice('online:'.length)), at: time });
  const state = (channel) => ({
    channel,
    position: '5-0',
    ...(channel.startsWith('online:') && { presence: isOnline(channel) }),
  });
  const sendAll = (frame) => server.clients.forEach((socket) => socket.send(JSON.stringify(frame)));
  const page = ({ id, channel, after = '' }) => {
    const all = [...members].sort().filter((user) => user > after);
    const some = all.slice(0, PAGE);
    return { op: 15, id, channel, members: some, ...(all.length > PAGE && { next: some.at(-1) }) };
  };

  server.on('connection', (socket) => {
    const send = (frame) => socket.send(JSON.stringify(frame));
    const count = (channels) => channels.includes(ROOM) && send({ op: 14, channel: ROOM, count: members.size });
    socket.on('message', (text) => {
      const frame = JSON.parse(text);
      if (frame.op === 1) {
        const channels = frame.channels.map(({ channel }) => channel);
        seen.subscribe += channels.length;
        send({ op: 2, user: '42', session: '00', channels: channels.map(state) });
        count(channels);
      } else if (frame.op === 4) {
        seen.subscribe += frame.channels.length;
        send({ op: 6, channels: frame.channels.map(({ channel }) => ({ state: 'subscribed', ...state(channel) })) });
        count(frame.channels.map(({ channel }) => channel));
      } else if (frame.op === 5) {
        seen.unsubscribe += frame.channels.length;
        send({ op: 6, channels: frame.channels.map((channel) => ({ channel, state: 'unsubscribed' })) });
      } else if (frame.op === 10) send({ op: 11, time: frame.time });
      else if (frame.op === 15) send(page(frame));
    });
    send({ op: 0, heartbeat_interval: 45_000, v: 2, session: '00', limits: LIMITS });
  });
  const cut = () => server.clients.forEach((socket) => socket.terminate());
  test.after(() => {
    cut();
    return deadline(new Promise((resolve) => server.close(resolve)), 'the scripted gateway stops');
  });

  return {
    url: `ws://127.0.0.1:${server.address().port}/`,
    seen,
    cut,
    /** A user comes or goes. Without `tell`, as while no client was connected. */
    setOnline(user, is, tell = true) {
      is ? online.add(user) : online.delete(user);
      time++;
      const channel = `online:${user}`;
      if (tell) sendAll({ op: 3, channel, message: isOnline(channel) });
    },
    join(user, tell = true) {
      members.add(user);
      if (tell) sendAll({ op: 14, channel: ROOM, count: members.size, joined: [user] });
    },
    leave(user) {
      members.delete(user);
      sendAll({ op: 14, channel: ROOM, count: members.size, left: [user] });
    },
  };
}
