// Compiled, but not run: the programs of the README are well-typed, and some mistakes are not.
import WebSocket from 'ws';
import { GatewayClient, type ChannelEvent } from '../src/index.js';
import { allHistory, history, MessageError, queued, send, signal, type HistoryPage } from '../src/messages.js';
import { online, presence, PresenceError, type MemberPage, type OnlineState } from '../src/presence.js';
import { useChannel, useGatewayState, useOnline, useOnlineUsers, usePresence } from '../src/react.js';
import { useHistory, useSend, useSignals, useTyping } from '../src/react.js';
import { SharedClient } from '../src/shared.js';

const client = new GatewayClient({ url: 'wss://gateway.example.com/', token: async () => 'token', WebSocket });
const room = client.subscribe('room:7', { since: '1732390000000-41' });
room.on('message', ({ message, position }) => console.log(message.content, position?.length));
room.on('recovering', ({ channel }) => console.log(channel.length, room.state === 'recovering'));
room.on('gap', ({ reason, position }) => console.log(reason, position?.length));
client.on('state', ({ state, code, retryInMs }) => console.log(state, code?.toFixed(), retryInMs?.toFixed()));
client.on('latency', (latencyMs) => console.log(latencyMs.toFixed()));

export async function loop(): Promise<void> {
  for await (const event of room) {
    if (event.type === 'message') console.log(event.message);
    // @ts-expect-error only a message event has a message
    else console.log(event.message);
  }
}

export function Component() {
  const { messages, gap, state } = useChannel(client, 'room:7', { onEvent: (event: ChannelEvent) => event.type });
  return [useGatewayState(client), messages.map(({ key }) => key.toFixed()), gap?.reason, state];
}

new SharedClient({ worker: new SharedWorker('/worker.js'), url: 'wss://gateway.example.com/', token: () => null });

new SharedClient({ worker: () => new SharedWorker('/worker.js'), url: 'wss://g/', token: () => null, key: () => 'user 42' });
client.subscribe('room:8', { since: null }).on('refused', ({ reason }) => console.log(reason.length));
client.refresh();
new GatewayClient({ url: 'wss://g/', token: 't', presence: (wake, rest) => (wake('seen'), rest('put away'), () => {}) });


export async function people(): Promise<MemberPage> {
  using ada = online(client, 'ada');
  ada.on('change', (state) => state?.at.toFixed());
  using room = presence(new SharedClient({ worker: new SharedWorker('/w.js'), url: 'wss://g/', token: 't' }), 'room:7');
  room.on('join', (users) => users.join());
  for await (const { members } of room.allMembers({ after: 'ada' })) console.log(members.length, room.count?.toFixed());
  return room.members().catch((error: unknown) => {
    throw error instanceof PresenceError ? error.code : error;
  });
}

export function Presence() {
  const states: ReadonlyMap<string, OnlineState> = useOnlineUsers(client, ['ada']);
  const { count, members, isComplete } = usePresence(client, null, { maxMembers: 10 });
  return [useOnline(client, undefined)?.online, states.size, count, members.length, isComplete];
}

const chat = client.subscribe('room:7', { last: 50 });
chat.on('subscribed', ({ last }) => last?.toFixed());
chat.on('signal', ({ user, signal }) => console.log(user.length, signal.typing));

export async function talk(): Promise<HistoryPage> {
  const id: string = await send(client, 'room:7', { text: 'hello' }, { signal: AbortSignal.timeout(1_000), maxQueued: 10 });
  signal(client, 'room:7', { typing: id.length + queued(client) });
  for await (const { messages, more } of allHistory(client, 'room:7', { limit: 10 })) console.log(messages[0]?.position, more);
  return history(client, 'room:7', { before: chat.position }).catch((error: unknown) => {
    throw error instanceof MessageError ? [error.code, error.id, error.mayBeStored] : error;
  });
}

export function Chat() {
  const { messages } = useChannel(client, 'room:7', { last: 50, limit: Infinity });
  const older = useHistory(client, 'room:7', { before: messages[0]?.position });
  const { send: say, pending, retry } = useSend(client, 'room:7');
  const { users, typing } = useTyping(client, 'room:7');
  const { signals } = useSignals(client, null, { holdMs: 1_000 });
  return [older.messages, older.more, pending.map(({ id, error }) => error && retry(id)), users, typing, say, signals.size];
}

// @ts-expect-error a room has no such event
presence(client, 'room:7').on('change', () => {});
// @ts-expect-error unknown event
client.on('messages', () => {});
// @ts-expect-error the token is missing
new GatewayClient({ url: 'wss://gateway.example.com/' });
