// Compiled, but not run: the programs of the README are well-typed, and some mistakes are not.
import WebSocket from 'ws';
import { GatewayClient, GatewayError, type ChannelEvent, type GatewayClientLike, type StateEvent, type Subscription } from '../src/index.js';
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

// Typed channels: the name decides the type of the messages.
interface Chat {
  text: string;
}
interface Note {
  read: boolean;
}
const typed = new GatewayClient<{ 'room:*': Chat; 'room:*:typing:*': boolean; 'user:*': Note; all: number }>({
  url: 'wss://g/',
  token: 't',
});
typed.subscribe('room:7').on('message', ({ message, channel }) => console.log(message.text, channel satisfies 'room:7'));
typed.subscribe(`user:${client.user ?? ''}`).on('message', ({ message }) => console.log(message.read));
typed.subscribe('all').on('message', ({ message }) => message.toFixed());
typed.subscribe('room:7:typing:ada').on('message', ({ message }) => message satisfies Chat | boolean);
typed.on('message', (event) => event.message satisfies Chat | boolean | Note | number);
// @ts-expect-error no pattern matches
typed.subscribe('rooms:7');
// @ts-expect-error a note has no text
typed.subscribe('user:7').on('message', ({ message }) => message.text);
// @ts-expect-error a message of some channel need not have a text
typed.on('message', ({ message }) => message.text);
const anyName = 'room:7' as string;
// @ts-expect-error the name of the channel is not known
typed.subscribe(anyName);
new GatewayClient<{ 'room:*': Chat; '*': unknown }>({ url: 'wss://g/', token: 't' }).subscribe(anyName);
online(typed, 'ada');
export const like: GatewayClientLike = typed;
export const typedLike: GatewayClientLike<{ 'room:*': Chat }> = new SharedClient<{ 'room:*': Chat }>({
  worker: new SharedWorker('/worker.js'),
  url: 'wss://g/',
  token: 't',
});

// A parser decides the type of the messages of its subscription.
const parse = (message: unknown): Chat => ({ text: String(message) });
const parsed: Subscription<Chat, 'room:7'> = client.subscribe('room:7', { parse, last: 10 });
parsed.on('message', ({ message }) => message.text.length);
parsed.on('invalid', ({ error, message, position }) => console.log(error, message, position?.length));
export const plain: Subscription = parsed;
// @ts-expect-error a message is not a number
parsed.on('message', ({ message }) => message.toFixed());

// Promises, listeners for one event, and the ends of a client and a subscription.
export async function session(): Promise<string> {
  await using other = new GatewayClient({ url: 'wss://g/', token: 't' });
  using ended = other.subscribe('room:7', { signal: AbortSignal.timeout(1_000) });
  const off: () => void = ended.once('pending', ({ reason, retryInMs }) => console.log(reason, retryInMs.toFixed()));
  const listener = ({ state }: StateEvent) => console.log(state);
  other.once('state', listener);
  other.off('state', listener);
  off();
  const connected: Promise<void> = other.connect().then(() => other.ready());
  other.disconnect();
  return connected.then(
    () => '',
    (error: unknown) => (error instanceof GatewayError ? error.code : ''),
  );
}
new MessageError('closed') satisfies GatewayError;
new PresenceError('closed') satisfies GatewayError;

// Events are unions that their type or state decides, and codes and reasons are literals.
export function explain(event: StateEvent | ChannelEvent<Chat>): string {
  if ('state' in event) {
    // @ts-expect-error a client may wait without a code
    event.code.toFixed();
    // @ts-expect-error no such state
    if (event.state === 'open') return '';
    return event.state === 'waiting' ? event.retryInMs.toFixed() : event.code === 4010 ? event.reason : event.state;
  }
  switch (event.type) {
    case 'message':
      return event.message.text;
    case 'refused':
      return event.reason === 'since_conflict' ? 'load the room' : event.reason;
    case 'gap':
      return event.reason;
    default:
      return event.channel;
  }
}
client.on('error', ({ where, error }) => where === 'identify' && console.log(error));

// @ts-expect-error a room has no such event
presence(client, 'room:7').on('change', () => {});
// @ts-expect-error unknown event
client.on('messages', () => {});
// @ts-expect-error the token is missing
new GatewayClient({ url: 'wss://gateway.example.com/' });
