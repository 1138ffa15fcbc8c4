/** What the library takes from its surroundings. Tests put a clock, a coin and a socket of their own here. */

/** The part of the standard WebSocket that is used: browsers, Node 22, React Native and `ws` all have it. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** A constructor of sockets. */
export type SocketConstructor = new (url: string) => Socket;

/** The clock, the coin and the socket. */
export interface Environment {
  /** Milliseconds of the wall clock: unlike a monotonic one it goes on while the machine sleeps. */
  now(): number;
  /** At least 0, below 1. */
  random(): number;
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  WebSocket: SocketConstructor | undefined;
}

/** The real ones. */
export function realEnvironment(): Environment {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as number),
    WebSocket: (globalThis as { WebSocket?: SocketConstructor }).WebSocket,
  };
}

/** One timer that is set anew or cleared, so that there are never two of a kind. */
export class Timer {
  readonly #environment: Environment;
  #running: unknown;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get isSet(): boolean {
    return this.#running !== undefined;
  }

  /** A delay that timers cannot hold (over 24 days) is cut: whoever sets it looks again then. */
  set(delayMs: number, callback: () => void): void {
    this.clear();
    this.#running = this.#environment.setTimeout(
      () => {
        this.#running = undefined;
        callback();
      },
      Math.min(Math.max(delayMs, 0), 2 ** 31 - 1),
    );
  }

  clear(): void {
    if (this.isSet) this.#environment.clearTimeout(this.#running);
    this.#running = undefined;
  }
}
