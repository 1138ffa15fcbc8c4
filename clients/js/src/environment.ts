/** The clock, the random numbers and the socket that the library uses. Tests replace them. */

/**
 * The part of the standard WebSocket that the library uses. Browsers, Node 22, React Native and
 * `ws` have it.
 */
export interface Socket {
  /** Called when the connection is open. */
  onopen: ((event: any) => void) | null;
  /** Called for each message; its text is `data`. */
  onmessage: ((event: any) => void) | null;
  /** Called once at the end, with `code` and `reason`. */
  onclose: ((event: any) => void) | null;
  /** Called for an error; `onclose` follows. */
  onerror: ((event: any) => void) | null;
  /** Sends text. */
  send(text: string): void;
  /** Closes the connection. */
  close(code?: number): void;
}

/** The constructor of a WebSocket, such as that of the package `ws`. */
export type SocketConstructor = new (url: string) => Socket;

/** The clock, the random numbers and the socket. */
export interface Environment {
  /**
   * The wall clock in milliseconds. Unlike a monotonic clock, it continues while the machine
   * sleeps.
   */
  now(): number;
  /** A random number, at least 0 and below 1. */
  random(): number;
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  WebSocket: SocketConstructor | undefined;
}

/** The environment outside tests. */
export function realEnvironment(): Environment {
  return {
    now: Date.now,
    random: Math.random,
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (timer) => clearTimeout(timer as number),
    WebSocket: (globalThis as { WebSocket?: SocketConstructor }).WebSocket,
  };
}

/** A timer that runs at most once at a time: setting it again replaces it. */
export class Timer {
  readonly #environment: Environment;
  #running: unknown;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get isSet(): boolean {
    return this.#running !== undefined;
  }

  /** Limits the delay to what timers support (24 days); the callback must check the time. */
  set(delayMs: number, callback: () => void): void {
    this.clear();
    this.#running = this.#environment.setTimeout(
      () => {
        this.#running = undefined;
        callback();
      },
      Math.min(delayMs, 2 ** 31 - 1),
    );
  }

  clear(): void {
    this.#environment.clearTimeout(this.#running);
    this.#running = undefined;
  }
}
