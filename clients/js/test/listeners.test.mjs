// Listeners for one event, their removal, and the ends of a subscription.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';

async function inRoom(options) {
  const world = start();
  const room = world.client.subscribe(ROOM, options);
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  const receive = (...numbers) => numbers.forEach((n) => world.socket.receive(message(ROOM, n, `5-${n}`)));
  return { world, room, receive };
}

describe('once()', () => {
  it('calls the listener for the next event alone', async () => {
    const { world, room, receive } = await inRoom();
    const numbers = [];
    for (const one of [room, world.client]) one.once('message', (event) => numbers.push(event.message.n));
    receive(1, 2);
    assert.deepEqual(numbers, [1, 1]);
  });

  it('can be removed before, and added again inside the listener', async () => {
    const { room, receive } = await inRoom();
    const numbers = [];
    room.once('message', () => numbers.push('removed'))();
    const again = ({ message: { n } }) => (numbers.push(n), room.once('message', again));
    room.once('message', again);
    receive(1, 2);
    assert.deepEqual(numbers, [1, 2]);
  });

  it('reports an error that the listener throws once', async () => {
    const { world, room, receive } = await inRoom();
    room.once('message', () => assert.fail('mine'));
    receive(1, 2);
    assert.deepEqual(
      world.errors.map(({ where, error }) => [where, error.message]),
      [['listener', 'mine']],
    );
  });
});

describe('off()', () => {
  it('removes a listener from one type, as often as it was added', async () => {
    const { room, receive } = await inRoom();
    const numbers = [];
    const listener = (event) => numbers.push(event.message.n);
    room.on('message', listener);
    room.on('message', listener);
    room.once('message', listener);
    room.on('event', listener);
    room.off('message', listener);
    room.off('gap', listener);
    receive(1);
    assert.deepEqual(numbers, [1]);
  });

  it('inside a listener ends the others that were not called yet', async () => {
    const { world, room, receive } = await inRoom();
    const numbers = [];
    const later = (event) => numbers.push(event.message.n);
    room.on('message', () => room.off('message', later));
    room.on('message', later);
    receive(1);
    assert.deepEqual([numbers, world.errors], [[], []]);
  });
});

describe('a signal', () => {
  it('ends the subscription and its iteration', async () => {
    const abort = new AbortController();
    const { world, room, receive } = await inRoom({ signal: abort.signal });
    const numbers = [];
    const loop = (async () => {
      for await (const event of room) numbers.push(event.message.n);
    })();
    receive(1);
    abort.abort();
    receive(2);
    await loop;
    await settled();
    assert.deepEqual([numbers, room.state], [[1], 'closed']);
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ROOM }]);
  });

  it('that was aborted before requests nothing', async () => {
    const world = start();
    world.client.connect();
    await ready(world);
    const room = world.client.subscribe(ROOM, { signal: AbortSignal.abort() });
    const invalid = world.client.subscribe('two words', { signal: AbortSignal.abort() });
    await world.clock.pass(0);
    assert.deepEqual([room.state, invalid.state], ['closed', 'closed']);
    assert.deepEqual([world.socket.ops(4), world.events.filter(({ type }) => type === 'refused')], [[], []]);
  });

  it('has no listener of a subscription that has ended', () => {
    const world = start();
    const { signal } = new AbortController();
    const counts = { added: 0, removed: 0 };
    for (const [count, act] of [['added', 'addEventListener'], ['removed', 'removeEventListener']]) {
      const original = signal[act].bind(signal);
      signal[act] = (...given) => (counts[count]++, original(...given));
    }
    world.client.subscribe(ROOM, { signal }).unsubscribe();
    world.client.subscribe(ROOM, { signal });
    world.client.close();
    assert.deepEqual(counts, { added: 2, removed: 2 });
  });
});

describe('a disposal', () => {
  // Node 20 has the symbols, and no syntax for them.
  it('of a subscription unsubscribes, and of a client closes', async () => {
    const { world, room } = await inRoom();
    room[Symbol.dispose]();
    assert.equal(room.state, 'closed');
    world.client[Symbol.dispose]();
    assert.equal(world.client.state, 'closed');
    const other = start();
    await other.client[Symbol.asyncDispose]();
    assert.equal(other.client.state, 'closed');
  });
});
