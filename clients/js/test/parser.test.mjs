// A parser per subscription: what it returns is delivered, and what it throws is an event.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, message, ready, start } from './support/fake.mjs';

const ROOM = 'room:7';

const parse = (value) => {
  if (value.n === 2) throw new RangeError('not a message');
  return { doubled: 2 * value.n };
};

async function inRoom() {
  const world = start();
  const [parsed, plain] = [world.client.subscribe(ROOM, { parse }), world.client.subscribe(ROOM)];
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  return { world, parsed, plain };
}

describe('a parser', () => {
  it('decides what the listeners of its subscription get', async () => {
    const { world, parsed, plain } = await inRoom();
    const received = [];
    for (const one of [parsed, plain, world.client]) one.on('message', (event) => received.push(event.message));
    world.socket.receive(message(ROOM, 1, '5-1'));
    assert.deepEqual(received, [{ doubled: 2 }, { n: 1 }, { n: 1 }]);
  });

  it('that throws causes `invalid`, and the stream continues', async () => {
    const { world, parsed } = await inRoom();
    const received = [];
    parsed.on('event', (event) => received.push(event));
    for (const n of [1, 2, 3]) world.socket.receive(message(ROOM, n, `5-${n}`));
    const error = new RangeError('not a message');
    assert.deepEqual(received, [
      { type: 'message', channel: ROOM, message: { doubled: 2 }, position: '5-1' },
      { type: 'invalid', channel: ROOM, message: { n: 2 }, position: '5-2', error },
      { type: 'message', channel: ROOM, message: { doubled: 6 }, position: '5-3' },
    ]);
    assert.deepEqual(world.errors, [{ where: 'listener', error }]);
    assert.equal((await cut(world)).channels.find(({ channel }) => channel === ROOM).since, '5-3');
  });

  it('works in an iteration', async () => {
    const { world, parsed } = await inRoom();
    const types = [];
    const loop = (async () => {
      for await (const { type } of parsed) types.push(type);
    })();
    for (const n of [1, 2]) world.socket.receive(message(ROOM, n));
    parsed.unsubscribe();
    await loop;
    assert.deepEqual(types, ['message', 'invalid']);
  });
});
