// The list of members that the React hook shows.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemberList } from '../dist/member-list.js';
import { presence } from '../dist/presence.js';
import { cut, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';

/** A list in a connected client. `tell` sends op 14, `answer` answers the latest op 15. */
async function list(maxMembers = 5) {
  const world = start();
  const made = new MemberList(presence(world.client, ROOM), maxMembers, () => world.changes++);
  Object.assign(world, { list: made, changes: 0 });
  world.client.connect();
  await ready(world, [{ channel: ROOM, position: '5-0' }]);
  world.tell = (count, more) => {
    world.socket.receive({ op: 14, channel: ROOM, count, ...more });
    return settled();
  };
  world.answer = (members, more) => {
    const { id } = world.socket.ops(15).at(-1);
    world.socket.receive({ op: 15, id, channel: ROOM, members, ...more });
    return settled();
  };
  world.asked = () => world.socket.ops(15).length;
  world.shows = (members, isComplete = true) => assert.deepEqual([made.members, made.isComplete], [members, isComplete]);
  return world;
}

describe('the list of a small room', () => {
  it('loads all pages, then applies joins and leaves', async () => {
    const world = await list();
    assert.equal(world.asked(), 0);
    await world.tell(3);
    world.shows([], false);
    await world.answer(['a', 'b'], { next: 'b' });
    await world.answer(['c']);
    world.shows(['a', 'b', 'c']);
    const before = world.changes;
    await world.tell(3, { joined: ['B'], left: ['b'] });
    world.shows(['B', 'a', 'c']);
    assert.equal(world.changes, before + 1);
    assert.equal(world.asked(), 2);
  });

  it('keeps joins and leaves that come while it loads', async () => {
    const world = await list();
    await world.tell(2);
    await world.tell(3, { joined: ['c'] });
    await world.tell(2, { left: ['a'] });
    await world.answer(['a', 'b']);
    world.shows(['b', 'c']);
  });

  it('loads again after a reconnect, and shows the old list until then', async () => {
    const world = await list();
    await world.tell(1);
    await world.answer(['a']);
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [{ channel: ROOM, position: '5-0', recovered: true }] });
    await settled();
    world.shows(['a'], false);
    await world.tell(1);
    await world.answer(['b']);
    world.shows(['b']);
  });

  it('loads again when the connection broke while it loaded', async () => {
    const world = await list();
    await world.tell(1);
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [{ channel: ROOM, position: '5-0', recovered: true }] });
    await world.tell(1);
    await world.answer(['a']);
    world.shows(['a']);
  });

  it('loads again if the count differs, but not at once', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
    const world = await list();
    await world.tell(1);
    await world.answer(['a']);
    for (let n = 0; n < 10; n++) await world.tell(2);
    world.shows(['a'], false);
    assert.equal(world.asked(), 1);
    test.mock.timers.tick(5_000);
    await settled();
    assert.equal(world.asked(), 2);
    await world.answer(['a', 'b']);
    world.shows(['a', 'b']);
  });

  it('loads again after a count that comes alone, also the same', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
    const world = await list();
    await world.tell(2);
    await world.tell(2);
    await world.answer(['a', 'b']);
    world.shows(['a', 'b'], false);
    test.mock.timers.tick(5_000);
    await settled();
    await world.answer(['a', 'c']);
    world.shows(['a', 'c']);
    await world.tell(2);
    world.shows(['a', 'c'], false);
    test.mock.timers.tick(5_000);
    await settled();
    await world.answer(['c', 'd']);
    world.shows(['c', 'd']);
    assert.equal(world.asked(), 3);
  });

  it('tries again while the members cannot be read', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
    const world = await list();
    await world.tell(1);
    world.socket.receive({ op: 9, code: 'unavailable', detail: '', id: world.socket.ops(15)[0].id });
    await settled();
    assert.equal(world.asked(), 1);
    test.mock.timers.tick(5_000);
    await settled();
    await world.answer(['a']);
    world.shows(['a']);
  });
});

describe('a room that cannot be listed', () => {
  it('is empty while it is large, and listed when it is small', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
    const world = await list(2);
    await world.tell(2);
    await world.answer(['a', 'b']);
    await world.tell(3);
    world.shows([], false);
    await world.tell(2);
    test.mock.timers.tick(5_000);
    await settled();
    await world.answer(['a', 'c']);
    world.shows(['a', 'c']);
  });

  it('is not asked again if its namespace has no members', async () => {
    const world = await list();
    await world.tell(2);
    world.socket.receive({ op: 9, code: 'not_allowed', detail: '', id: world.socket.ops(15)[0].id });
    await world.tell(3);
    await world.tell(4);
    assert.equal(world.asked(), 1);
    world.shows([], false);
  });

  it('is empty after a refusal, and asks nothing after the end', async () => {
    const world = await list();
    await world.tell(1);
    await world.answer(['a']);
    world.socket.receive({ op: 6, channel: ROOM, state: 'unsubscribed', reason: 'not_allowed' });
    await settled();
    world.shows([], false);
    world.list.close();
    await world.tell(5);
    assert.equal(world.asked(), 1);
  });
});
