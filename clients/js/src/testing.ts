/** A gateway for the tests of an app: it runs in memory, and the test decides what happens. */

import type { Socket, SocketConstructor } from './environment.js';
import { FakeSession, type FakePeer } from './testing-session.js';

export type { FakePeer } from './testing-session.js';

/** The options of a FakeGateway. */
export interface FakeGatewayOptions {
  /** The user of a token; `undefined` refuses it. By default every token is that of the user `42`. */
  user?: (token: string) => string | undefined;
  /** The interval of heartbeats that Hello names. Milliseconds, default 45 000. */
  heartbeatMs?: number;
  /** The rooms with presence, besides those that somebody joins. */
  rooms?: string[];
  /** The number of members of a page. Default 100. */
  membersPerPage?: number;
}

/** A message that a client sent for the backend. */
export interface FakeSent {
  /** The user that sent it. */
  user: string;
  /** The id that the client gave it. A repeated id is kept once. */
  id: string;
  /** The channel that it is for. */
  channel: string;
  /** The message. */
  message: unknown;
}

/** A connection of a client, as its socket tells the gateway about it. */
export interface FakeConnection {
  /** The client has sent a frame. */
  receive(text: string): void;
  /** The client has closed the socket. */
  end(): void;
}

interface Stored {
  position: string;
  message: unknown;
}

/** A gateway of version 2 of the protocol, for tests. All of its clients share its channels. */
export class FakeGateway {
  /** Pass it to the client as `WebSocket`. The URL may be any one. */
  readonly WebSocket: SocketConstructor;
  /** All frames from clients, oldest first. */
  readonly frames: any[] = [];
  /** The messages from clients for the backend, each once. */
  readonly sent: FakeSent[] = [];
  /** While it is true, no connection succeeds. */
  isDown = false;
  /** While it is true, no history can be read: new subscriptions are `recovering`, until `recover`. */
  isStalled = false;
  readonly #options: FakeGatewayOptions;
  readonly #sessions = new Set<FakeSession>();
  readonly #histories = new Map<string, Stored[]>();
  /** The first part of positions. A history that was lost gets another one. */
  readonly #epochs = new Map<string, number>();
  readonly #refused = new Map<string, string>();
  readonly #online = new Map<string, { online: boolean; at: number }>();
  readonly #rooms = new Map<string, Set<string>>();

  constructor(options: FakeGatewayOptions = {}) {
    this.#options = options;
    options.rooms?.forEach((channel) => this.#room(channel));
    const gateway = this;
    this.WebSocket = class extends FakeSocket {
      constructor(_url: string) {
        super();
        // Listeners are added after the constructor.
        queueMicrotask(() => this.connect(gateway));
      }
    };
  }

  /** The number of clients that are connected. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** Publishes a message, durably by default. Returns its position. */
  publish(channel: string, message: unknown, { durable = true } = {}): string | undefined {
    const position = durable ? this.#store(channel, message) : undefined;
    this.#tell(channel, { op: 3, channel, message, ...(position && { position }) });
    return position;
  }

  /** Tells the subscribers of a channel that messages may be missing. */
  gap(channel: string, reason = 'link_lost'): void {
    this.#tell(channel, { op: 8, channel, reason });
  }

  /** Loses the history of a channel: a client that was away cannot resume. */
  loseHistory(channel: string): void {
    this.#histories.delete(channel);
    this.#epochs.set(channel, this.#epoch(channel) + 1);
  }

  /** Makes histories readable again: subscriptions that are `recovering` begin. */
  recover(): void {
    this.isStalled = false;
    this.#sessions.forEach((session) => session.recover());
  }

  /** Refuses a channel from now on; `null` allows it again. */
  refuse(channel: string, reason: string | null = 'not_allowed'): void {
    if (reason === null) this.#refused.delete(channel);
    else this.#refused.set(channel, reason);
  }

  /** Sends the signal of another user to the subscribers of a channel. */
  signal(channel: string, user: string, signal: unknown): void {
    this.#tell(channel, { op: 18, channel, user, signal });
  }

  /** Makes a user come or go, for the subscribers of `online:<user>`. */
  setOnline(user: string, online: boolean): void {
    const state = { online, at: (this.#online.get(user)?.at ?? 1_000) + 1 };
    this.#online.set(user, state);
    this.#tell(`online:${user}`, { op: 3, channel: `online:${user}`, message: state });
  }

  /** Makes a user a member of a room. From then on its subscribers learn the count and the members. */
  join(channel: string, user: string): void {
    this.#room(channel).add(user);
    this.#tell(channel, { op: 14, channel, count: this.#room(channel).size, joined: [user] });
  }

  /** Removes a member of a room. */
  leave(channel: string, user: string): void {
    this.#room(channel).delete(user);
    this.#tell(channel, { op: 14, channel, count: this.#room(channel).size, left: [user] });
  }

  /** Sends a frame, or text that is none, to all clients. */
  send(frame: object | string): void {
    const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
    this.#sessions.forEach(({ peer }) => peer.send(text));
  }

  /** Ends all connections with a close code; 1006 is a lost connection without a Close frame. */
  cut(code = 1006, reason = ''): void {
    for (const session of [...this.#sessions]) {
      this.#sessions.delete(session);
      session.peer.close(code, reason);
    }
  }

  /** Accepts a client on a socket of the test's own. */
  accept(peer: FakePeer): FakeConnection {
    const session = new FakeSession(peer, {
      userOf: this.#options.user ?? (() => '42'),
      heartbeatMs: this.#options.heartbeatMs ?? 45_000,
      membersPerPage: this.#options.membersPerPage ?? 100,
      open: (request) => this.#open(request),
      membersOf: (channel) => [...(this.#rooms.get(channel) ?? [])].sort(),
      hasRoom: (channel) => this.#rooms.has(channel),
      historyOf: (channel) => this.#histories.get(channel) ?? [],
      keep: (sent) => this.sent.some(({ user, id }) => user === sent.user && id === sent.id) || this.sent.push(sent),
      signal: (from, channel, signal) => {
        const frame = { op: 18, channel, user: from.user, signal };
        this.#sessions.forEach((other) => other !== from && other.tell(channel, frame));
      },
      end: (ended, code, reason) => {
        this.#sessions.delete(ended);
        peer.close(code, reason);
      },
    });
    this.#sessions.add(session);
    session.greet();
    return {
      receive: (text) => {
        if (!this.#sessions.has(session)) return;
        this.frames.push(JSON.parse(text));
        session.take(this.frames.at(-1));
      },
      end: () => void this.#sessions.delete(session),
    };
  }

  /** The answer to a request for a channel, and the stored messages that follow it. */
  #open({ channel, since, last }: { channel: string; since?: string; last?: number }) {
    const reason = this.#refused.get(channel);
    if (reason !== undefined) return { answer: { channel, state: 'refused', reason }, messages: [] };
    const presence = channel.startsWith('online:') && (this.#online.get(channel.slice(7)) ?? { online: false, at: 0 });
    const stored = this.#histories.get(channel) ?? [];
    const end = `${this.#epoch(channel)}-${stored.length}`;
    if (this.isStalled) return { answer: { channel, state: 'recovering', position: since ?? end }, messages: [] };
    const from = since === undefined ? -1 : this.#indexOf(channel, since, stored.length);
    const base = { channel, state: 'subscribed', ...(presence && { presence }) };
    if (since !== undefined) {
      const isRecovered = from >= 0;
      const answer = { ...base, position: isRecovered ? since : end, recovered: isRecovered };
      return { answer, messages: isRecovered ? stored.slice(from) : [] };
    }
    const messages = last ? stored.slice(-last) : [];
    const position = `${this.#epoch(channel)}-${stored.length - messages.length}`;
    return { answer: { ...base, position, ...(last !== undefined && { last: messages.length }) }, messages };
  }

  /** The number of stored messages up to a position; -1 if the history does not continue from it. */
  #indexOf(channel: string, position: string, length: number): number {
    const [epoch, number] = String(position).split('-').map(Number);
    return epoch === this.#epoch(channel) && number !== undefined && number <= length ? number : -1;
  }

  #store(channel: string, message: unknown): string {
    const stored = this.#histories.get(channel) ?? [];
    const position = `${this.#epoch(channel)}-${stored.length + 1}`;
    this.#histories.set(channel, [...stored, { position, message }]);
    return position;
  }

  #epoch(channel: string): number {
    return this.#epochs.get(channel) ?? 1;
  }

  #room(channel: string): Set<string> {
    const room = this.#rooms.get(channel) ?? new Set();
    this.#rooms.set(channel, room);
    return room;
  }

  #tell(channel: string, frame: object): void {
    this.#sessions.forEach((session) => session.tell(channel, frame));
  }
}

/** The client's end of a connection. What one end sends arrives at the other in a later microtask. */
class FakeSocket implements Socket {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  #connection: FakeConnection | undefined;
  #isClosed = false;

  protected connect(gateway: FakeGateway): void {
    if (gateway.isDown || this.#isClosed) return this.#end(1006, '');
    this.onopen?.({});
    const later = (task: () => void) => queueMicrotask(() => this.#isClosed || task());
    this.#connection = gateway.accept({
      send: (data) => later(() => this.onmessage?.({ data })),
      close: (code, reason) => later(() => this.#end(code, reason)),
    });
  }

  send(text: string): void {
    queueMicrotask(() => this.#connection?.receive(text));
  }

  close(code = 1000): void {
    this.#connection?.end();
    queueMicrotask(() => this.#end(code, ''));
  }

  #end(code: number, reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Closed before the connection began.
    this.#connection?.end();
    this.onclose?.({ code, reason });
  }
}
