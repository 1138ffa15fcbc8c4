/** The sessions of a FakeGateway. */

/** The gateway's end of a connection. */
export interface FakePeer {
  /** Sends text to the client. */
  send(text: string): void;
  /** Ends the connection; with 1006, without a Close frame. */
  close(code: number, reason: string): void;
}

/** What the sessions of a gateway share. */
export interface FakeShared {
  userOf(token: string): string | undefined;
  heartbeatMs: number;
  membersPerPage: number;
  open(request: Request): { answer: any; messages: Array<{ position: string; message: unknown }> };
  membersOf(channel: string): string[];
  hasRoom(channel: string): boolean;
  historyOf(channel: string): Array<{ position: string; message: unknown }>;
  keep(sent: { user: string; id: string; channel: string; message: unknown }): void;
  signal(from: FakeSession, channel: string, signal: unknown): void;
  end(session: FakeSession, code: number, reason: string): void;
}

const LIMITS = { identify_timeout: 10_000, message_bytes: 65_536, messages_per_minute: 0, subscriptions: 0 };

/** A channel that a client wants. */
interface Request {
  channel: string;
  since?: string;
  last?: number;
}

/** One session of a FakeGateway. */
export class FakeSession {
  readonly peer: FakePeer;
  user = '';
  readonly #shared: FakeShared;
  readonly #channels = new Set<string>();
  /** The subscriptions that begin when histories can be read. */
  #recovering: Request[] = [];

  constructor(peer: FakePeer, shared: FakeShared) {
    this.peer = peer;
    this.#shared = shared;
  }

  greet(): void {
    this.#send({ op: 0, heartbeat_interval: this.#shared.heartbeatMs, v: 2, session: '00', limits: LIMITS });
  }

  /** Sends a frame of a channel, if it is subscribed. */
  tell(channel: string, frame: object): void {
    if (this.#channels.has(channel)) this.#send(frame);
  }

  /** Begins the subscriptions that are recovering. */
  recover(): void {
    const opened = this.#recovering.splice(0).map((request) => this.#open(request));
    for (const one of opened) {
      this.#send({ op: 6, ...one.answer });
      this.#follow([one]);
    }
  }

  /** Takes a frame of the client. */
  take(frame: any): void {
    const { op, id, channel } = frame;
    if (op === 1) this.#identify(frame);
    else if (op === 4) this.#subscribe(frame.channels ?? [frame], frame.channels !== undefined);
    else if (op === 5) this.#unsubscribe(frame.channels ?? [channel], frame.channels !== undefined);
    else if (op === 10) this.#send({ op: 11, time: frame.time });
    else if (op === 12) this.#send({ op: 13 });
    else if (op === 15) this.#sendMembers(frame);
    else if (op === 16) {
      this.#shared.keep({ user: this.user, id, channel, message: frame.message });
      this.#send({ op: 17, id });
    } else if (op === 18) this.#shared.signal(this, channel, frame.signal);
    else if (op === 19) this.#sendPage(frame);
  }

  #identify({ token, channels = [] }: { token: string; channels?: Request[] }): void {
    const user = this.#shared.userOf(token);
    if (user === undefined) return this.#shared.end(this, 4003, 'invalid token');
    this.user = user;
    const own = [`user:${user}`, 'all'].filter((name) => !channels.some(({ channel }) => channel === name));
    const opened = [...own.map((channel) => ({ channel })), ...channels].map((request) => this.#open(request));
    const isRefused = ({ answer }: { answer: any }) => answer.state === 'refused';
    const ready = opened.filter((one) => !isRefused(one)).map(({ answer: { state, ...answer } }) => ({ ...answer, ...(state === 'recovering' && { state }) }));
    this.#send({ op: 2, user, session: '00', channels: ready });
    opened.filter(isRefused).forEach(({ answer }) => this.#send({ op: 6, ...answer }));
    this.#follow(opened);
  }

  #subscribe(requests: Request[], isBatch: boolean): void {
    const opened = requests.map(({ channel, ...more }) => this.#open({ ...more, channel }));
    if (isBatch) this.#send({ op: 6, channels: opened.map(({ answer }) => answer) });
    else this.#send({ op: 6, ...opened[0]!.answer });
    this.#follow(opened);
  }

  #unsubscribe(channels: string[], isBatch: boolean): void {
    channels.forEach((channel) => this.#channels.delete(channel));
    this.#recovering = this.#recovering.filter(({ channel }) => !channels.includes(channel));
    const answers = channels.map((channel) => ({ channel, state: 'unsubscribed' }));
    this.#send(isBatch ? { op: 6, channels: answers } : { op: 6, ...answers[0] });
  }

  #open(request: Request) {
    const opened = this.#shared.open(request);
    if (opened.answer.state === 'recovering') this.#recovering.push(request);
    if (opened.answer.state === 'subscribed') this.#channels.add(request.channel);
    return opened;
  }

  /** Sends what follows the answers: stored messages, and the counts of rooms. */
  #follow(opened: Array<ReturnType<FakeShared['open']>>): void {
    for (const { answer, messages } of opened) {
      const { channel } = answer;
      messages.forEach(({ position, message }) => this.#send({ op: 3, channel, message, position }));
      const count = this.#shared.membersOf(channel).length;
      if (this.#shared.hasRoom(channel)) this.tell(channel, { op: 14, channel, count });
    }
  }

  #sendMembers({ id, channel, after = '' }: { id: string; channel: string; after?: string }): void {
    const all = this.#shared.membersOf(channel).filter((user) => user > after);
    const members = all.slice(0, this.#shared.membersPerPage);
    this.#send({ op: 15, id, channel, members, ...(members.length < all.length && { next: members.at(-1) }) });
  }

  #sendPage({ id, channel, before, limit = 50 }: { id: string; channel: string; before?: string; limit?: number }): void {
    const stored = this.#shared.historyOf(channel);
    const found = before === undefined ? -1 : stored.findIndex(({ position }) => position === before);
    const end = found < 0 ? stored.length : found;
    const start = Math.max(0, end - limit);
    this.#send({ op: 20, id, channel, messages: stored.slice(start, end), more: start > 0 });
  }

  #send(frame: object): void {
    this.peer.send(JSON.stringify(frame));
  }
}
