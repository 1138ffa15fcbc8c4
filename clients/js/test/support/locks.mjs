// A fake of the part of the Web Locks API that the library uses.

export class FakeLocks {
  /** By name: a promise that settles when the lock is released. */
  #held = new Map();

  /** Installs the fake as `navigator.locks` until the test ends. */
  static install(test) {
    const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
    const locks = new FakeLocks();
    Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
    test.after(() => (before ? Object.defineProperty(globalThis, 'navigator', before) : delete globalThis.navigator));
    return locks;
  }

  async request(name, options, callback = options) {
    while (this.#held.has(name)) {
      const aborted = new Promise((_, reject) => {
        options.signal?.addEventListener('abort', () => reject(options.signal.reason));
      });
      await Promise.race([this.#held.get(name), aborted]);
    }
    const done = Promise.resolve(callback());
    const free = done.then(() => this.#held.delete(name));
    this.#held.set(name, free);
    return done;
  }

  /** Holds a lock until the returned function is called. */
  hold(name) {
    let release;
    void this.request(name, () => new Promise((resolve) => (release = resolve)));
    return release;
  }
}
