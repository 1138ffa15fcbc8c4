// A TCP proxy that cuts connections at seeded random points.
import { connect, createServer } from 'node:net';

/** A random sequence that depends only on the seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Forwards to one of the gateways. While `cutsLeft` is more than 0, each connection is cut after a random number of
 * bytes to the client, or with `isBothWays` of bytes in both directions: in the handshake, in the middle of a frame, or
 * long after Ready. It is reset, closed in order, or becomes silent, which only the client's heartbeat detects.
 */
export class FaultProxy {
  cutsLeft = 0;
  cuts = { reset: 0, end: 0, silence: 0 };
  accepted = 0;
  onSilence = () => {};
  isDown = false;
  connections = new Set();
  #random;
  #server;

  constructor(ports, { seed = 1, maxBytes = 4_000, silenceShare = 0, isBothWays = false } = {}) {
    Object.assign(this, { ports, maxBytes, silenceShare, isBothWays });
    this.#random = seeded(seed);
  }

  static async start(test, ports, options) {
    const proxy = new FaultProxy(ports, options);
    proxy.#server = createServer({ allowHalfOpen: true }, (client) => proxy.#serve(client));
    await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    test.after(() => proxy.stop());
    return proxy;
  }

  get url() {
    return `ws://127.0.0.1:${this.#server.address().port}/`;
  }

  get cutsMade() {
    return this.cuts.reset + this.cuts.end + this.cuts.silence;
  }

  /** Cuts every connection now. */
  cutAll() {
    this.connections.forEach((cut) => cut());
  }

  async stop() {
    this.cutAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client) {
    this.accepted++;
    client.on('error', () => {});
    if (this.isDown) return client.resetAndDestroy();
    const gateway = connect(this.ports[Math.floor(this.#random() * this.ports.length)], '127.0.0.1');
    gateway.on('error', () => client.destroy());
    const kind = this.#random() < this.silenceShare ? 'silence' : this.#random() < 0.5 ? 'reset' : 'end';
    let left = this.cutsLeft > 0 ? Math.floor(this.#random() * this.maxBytes) : Infinity;
    const cut = () => {
      // A reset during an orderly close makes Node 20 hang at its exit.
      if (client.writableEnded) client.destroy();
      else client.resetAndDestroy();
      gateway.destroy();
    };
    this.connections.add(cut);
    client.on('close', () => {
      this.connections.delete(cut);
      gateway.destroy();
    });
    gateway.on('close', () => left !== -1 && client.end());
    client.on('end', () => gateway.end());
    const forward = (bytes, target) => {
      if (left === -1) return;
      if (bytes.length < left || this.cutsLeft <= 0) {
        left -= bytes.length;
        return target.write(bytes);
      }
      // The bytes before the cut are forwarded, so that frames are cut in two.
      target.write(bytes.subarray(0, left));
      left = -1;
      this.cutsLeft--;
      this.cuts[kind]++;
      if (kind === 'end') client.end(() => gateway.destroy());
      else if (kind === 'reset') cut();
      else this.onSilence();
    };
    client.on('data', (bytes) => (this.isBothWays ? forward(bytes, gateway) : left !== -1 && gateway.write(bytes)));
    gateway.on('data', (bytes) => forward(bytes, client));
  }
}
