// Whether users are online, and who is in a room.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cut, hello, message, ready, settled, start } from './support/fake.mjs';

const { online, presence, PresenceError } = await import(
  process.env.CLIENT ? '../dist/bundle/gateway-presence.js' : '../dist/presence.js'
);

const ADA = 'online:ada';
const ROOM = 'room:7';
const edge = (isOnline, at, channel = ADA) => ({ op: 3, channel, message: { online: isOnline, at } });
const state = (channel, presence, more) => ({ channel, position: '5-0', ...(presence && { presence }), ...more });
const members = (frame, list, next) => ({ op: 15, id: frame.id, channel: ROOM, members: list, ...(next && { next }) });

/** Connects a client that has opened something. */
async function connected(open, channels) {
  const world = start();
  world.opened = open(world.client);
  world.client.connect();
  await ready(world, channels);
  return world;
}

const followAda = (presence = { online: false, at: 100 }) =>
  connected((client) => online(client, 'ada'), [state(ADA, presence)]);

async function inRoom(count = 3) {
  const world = await connected((client) => presence(client, ROOM), [state(ROOM)]);
  world.room = world.opened;
  world.socket.receive({ op: 14, channel: ROOM, count });
  await settled();
  return world;
}

/** Records the events of these types. */
function record(handle, types) {
  const events = [];
  for (const type of types) handle.on(type, (event) => events.push([type, event]));
  return events;
}

describe('whether a user is online', () => {
  it('is known from Ready, and follows each edge', async () => {
    const world = start();
    const ada = online(world.client, 'ada');
    const changes = record(ada, ['change']);
    assert.deepEqual([ada.user, ada.state], ['ada', undefined]);
    world.client.connect();
    await ready(world, [state(ADA, { online: false, at: 100 })]);
    assert.deepEqual(ada.state, { online: false, at: 100 });
    world.socket.receive(edge(true, 200));
    world.socket.receive(edge(false, 300));
    await settled();
    assert.deepEqual(
      changes.map(([, { online, at }]) => [online, at]),
      [
        [false, 100],
        [true, 200],
        [false, 300],
      ],
    );
  });

  it('is known from op 6 for a later subscription', async () => {
    const world = await connected(() => undefined, []);
    const ada = online(world.client, 'ada');
    await settled();
    world.socket.receive({ op: 6, state: 'subscribed', ...state(ADA, { online: true, at: 100 }) });
    await settled();
    assert.deepEqual(ada.state, { online: true, at: 100 });
  });

  it('ignores an edge from before the state was read', async () => {
    const world = await followAda({ online: true, at: 100 });
    world.socket.receive(edge(false, 99));
    await settled();
    assert.deepEqual(world.opened.state, { online: true, at: 100 });
    world.socket.receive(edge(false, 100));
    await settled();
    assert.deepEqual(world.opened.state, { online: false, at: 100 });
  });

  it('is not known if the gateway keeps no presence, until it does', async () => {
    const world = await followAda(null);
    assert.equal(world.opened.state, undefined);
    world.socket.receive(edge(true, 100));
    await settled();
    assert.deepEqual(world.opened.state, { online: true, at: 100 });
  });

  it('is not known after a refusal, which is reported', async () => {
    const world = await followAda({ online: true, at: 100 });
    const events = record(world.opened, ['change', 'refused']);
    world.socket.receive({ op: 6, channel: ADA, state: 'unsubscribed', reason: 'not_allowed' });
    await settled();
    assert.equal(world.opened.state, undefined);
    assert.deepEqual(events, [
      ['change', undefined],
      ['refused', { reason: 'not_allowed' }],
    ]);
    const odd = online(world.client, 'two words');
    const refused = record(odd, ['refused']);
    await world.clock.pass(0);
    assert.deepEqual(refused, [['refused', { reason: 'bad_channel' }]]);
  });

  it('is told to later users of one subscription', async () => {
    const world = await connected((client) => client.subscribe(ADA), [state(ADA, { online: false, at: 100 })]);
    world.socket.receive(edge(true, 200));
    for (const odd of [edge(false, 150), message(ADA, 1), { ...edge(), message: 'odd' }]) world.socket.receive(odd);
    await settled();
    const late = [online(world.client, 'ada'), online(world.client, 'ada')];
    await settled();
    for (const { state } of late) assert.deepEqual(state, { online: true, at: 200 });
    world.opened.unsubscribe();
    late[0].close();
    await settled();
    assert.equal(world.socket.ops(4).length + world.socket.ops(5).length, 0);
    late[1][Symbol.dispose]();
    await settled();
    assert.deepEqual(world.socket.ops(5), [{ op: 5, channel: ADA }]);
    assert.equal(late[1].state, undefined);
  });

  it('stays the last known state until the next Ready', async () => {
    const world = await followAda({ online: true, at: 100 });
    const changes = record(world.opened, ['change']);
    await cut(world);
    assert.deepEqual(world.opened.state, { online: true, at: 100 });
    world.socket.receive({ op: 2, user: '42', channels: [state(ADA, { online: false, at: 300 }, { recovered: true })] });
    await settled();
    assert.deepEqual(changes, [['change', { online: false, at: 300 }]]);
    // A gap changes nothing by itself; the gateway then sends the state.
    world.socket.receive({ op: 8, channel: ADA, reason: 'link_lost' });
    world.socket.receive(edge(true, 400));
    await settled();
    assert.deepEqual(world.opened.state, { online: true, at: 400 });
    await cut(world);
    world.socket.receive({ op: 2, user: '42', channels: [state(ADA, undefined, { recovered: true })] });
    await settled();
    assert.deepEqual(changes.at(-1), ['change', undefined]);
  });

  it('is not known after the client was closed', async () => {
    const world = await followAda({ online: true, at: 100 });
    world.client.close();
    assert.equal(world.opened.state, undefined);
  });

  it('survives malformed states, edges and listeners', async () => {
    const world = await followAda({ online: true, at: 100 });
    const changes = [];
    world.opened.on('change', () => {
      throw new Error('of the app');
    });
    world.opened.on('change', (event) => changes.push(event));
    for (const odd of [null, 1, 'text', [], {}, { online: 1, at: 200 }, { online: true, at: 'x' }, { online: false }]) {
      world.socket.receive({ op: 3, channel: ADA, message: odd });
    }
    await settled();
    assert.deepEqual(world.opened.state, { online: true, at: 100 });
    world.socket.receive(edge(false, 200));
    await settled();
    assert.deepEqual(changes, [{ online: false, at: 200 }]);
    assert.deepEqual(
      world.errors.map(({ where, error }) => [where, error.message]),
      [['listener', 'of the app']],
    );
  });
});

describe('a room', () => {
  it('reports its count, joins and leaves', async () => {
    const world = start();
    const room = presence(world.client, ROOM);
    const events = record(room, ['subscribed', 'count', 'join', 'leave', 'reload']);
    world.client.connect();
    await ready(world, [state(ROOM)]);
    assert.deepEqual([room.channel, room.count], [ROOM, undefined]);
    world.socket.receive({ op: 14, channel: ROOM, count: 2 });
    world.socket.receive({ op: 14, channel: ROOM, count: 2, joined: ['a'], left: ['b'] });
    world.socket.receive({ op: 14, channel: ROOM, count: 812 });
    await settled();
    assert.deepEqual(events, [
      ['subscribed', undefined],
      ['count', 2],
      ['reload', undefined],
      ['join', ['a']],
      ['leave', ['b']],
      ['count', 812],
      ['reload', undefined],
    ]);
    assert.equal(room.count, 812);
  });

  it('tells later users the count, but no earlier joins', async () => {
    const world = await inRoom();
    world.socket.receive({ op: 14, channel: ROOM, count: 4, joined: ['a'] });
    await settled();
    const late = presence(world.client, ROOM);
    const events = record(late, ['count', 'join', 'reload']);
    await settled();
    assert.deepEqual([late.count, events], [4, [['count', 4], ['reload', undefined]]]);
    world.room.close();
    late.close();
    await settled();
    assert.deepEqual([world.socket.ops(4).length, world.socket.ops(5).length, late.count], [0, 1, undefined]);
  });

  it('keeps its count over a cut, and learns it again', async () => {
    const world = await inRoom();
    const begins = record(world.room, ['subscribed']);
    await cut(world);
    assert.equal(world.room.count, 3);
    world.socket.receive({ op: 2, user: '42', channels: [state(ROOM, undefined, { recovered: true })] });
    await settled();
    assert.equal(world.room.count, undefined);
    const events = record(world.room, ['count']);
    world.socket.receive({ op: 14, channel: ROOM, count: 3 });
    await settled();
    assert.deepEqual([begins.length, events], [1, [['count', 3]]]);
  });

  it('ignores a malformed op 14', async () => {
    const world = await inRoom();
    const events = record(world.room, ['count', 'join', 'leave', 'reload']);
    for (const odd of [null, -1, {}, [1]]) {
      world.socket.receive({ op: 14, channel: ROOM, count: odd, joined: odd, left: [odd] });
    }
    world.socket.receive({ op: 14, channel: 'room:other', count: 1 });
    await settled();
    assert.deepEqual([world.room.count, events, world.client.state], [3, [], 'connected']);
  });
});

describe('the members of a room', () => {
  it('are requested by page', async () => {
    const world = await inRoom();
    const first = world.room.members();
    const second = world.room.members({ after: 'b' });
    await settled();
    const asked = world.socket.ops(15);
    assert.deepEqual(
      asked.map(({ channel, after }) => [channel, after]),
      [
        [ROOM, undefined],
        [ROOM, 'b'],
      ],
    );
    assert.notEqual(asked[0].id, asked[1].id);
    world.socket.receive(members(asked[1], ['c']));
    world.socket.receive(members(asked[0], ['a', 'b'], 'b'));
    assert.deepEqual(await first, { members: ['a', 'b'], next: 'b' });
    assert.deepEqual(await second, { members: ['c'], next: undefined });
  });

  it('can be iterated page by page', async () => {
    const world = await inRoom();
    const pages = [];
    const reading = (async () => {
      for await (const page of world.room.allMembers()) pages.push(page.members);
    })();
    await settled();
    world.socket.receive(members(world.socket.ops(15)[0], ['a', 'b'], 'b'));
    await settled();
    assert.equal(world.socket.ops(15)[1].after, 'b');
    world.socket.receive(members(world.socket.ops(15)[1], ['c']));
    await reading;
    assert.deepEqual(pages, [['a', 'b'], ['c']]);
  });

  it('are requested only when the room is subscribed', async () => {
    const world = start();
    const room = presence(world.client, ROOM);
    const page = room.members();
    world.client.connect();
    await hello(world);
    world.socket.receive({ op: 2, user: '42', channels: [{ channel: ROOM, state: 'recovering' }] });
    await settled();
    assert.equal(world.socket.ops(15).length, 0);
    world.socket.receive({ op: 6, state: 'subscribed', ...state(ROOM) });
    await settled();
    world.socket.receive(members(world.socket.ops(15)[0], ['a']));
    assert.deepEqual((await page).members, ['a']);
  });

  it('may be refused by the gateway, without an error of the client', async () => {
    const world = await inRoom();
    for (const code of ['not_allowed', 'unavailable']) {
      const page = world.room.members();
      await settled();
      world.socket.receive({ op: 9, code, detail: 'why', id: world.socket.ops(15).at(-1).id });
      await assert.rejects(page, (error) => error instanceof PresenceError && error.code === code && error.message === 'why');
    }
    assert.deepEqual(world.errors, []);
    world.socket.receive({ op: 9, code: 'own_channel', detail: '' });
    await settled();
    assert.equal(world.errors[0].where, 'own_channel');
  });

  it('are rejected when the connection breaks', async () => {
    const world = await inRoom();
    const page = assert.rejects(world.room.members(), { code: 'disconnected' });
    await settled();
    await cut(world);
    await page;
    world.socket.receive({ op: 2, user: '42', channels: [state(ROOM, undefined, { recovered: true })] });
    await settled();
    assert.equal(world.socket.ops(15).length, 0, 'they are not repeated');
  });

  it('are rejected with the reason of a refused room, now and later', async () => {
    const world = await connected((client) => presence(client, ROOM), []);
    const page = assert.rejects(world.opened.members(), { code: 'not_allowed' });
    world.socket.receive({ op: 6, channel: ROOM, state: 'refused', reason: 'not_allowed' });
    await settled();
    await page;
    await assert.rejects(world.opened.members(), { code: 'not_allowed' });
    const late = assert.rejects(presence(world.client, ROOM).members(), { code: 'not_allowed' });
    await settled();
    await world.clock.pass(0);
    await late;
  });

  it('are rejected when the room or the client is closed', async () => {
    const world = start();
    const room = presence(world.client, ROOM);
    const page = assert.rejects(room.members(), { code: 'closed' });
    room.close();
    await page;
    await assert.rejects(room.members(), { code: 'closed' });
    const other = assert.rejects(presence(world.client, ROOM).members(), { code: 'closed' });
    world.client.close();
    await other;
  });

  it('time out before the subscription, and without an answer', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] });
    const unconnected = start();
    const early = assert.rejects(presence(unconnected.client, ROOM).members({ timeoutMs: 50 }), { code: 'timeout' });
    test.mock.timers.tick(50);
    await early;
    const world = await inRoom();
    const page = world.room.members();
    await settled();
    test.mock.timers.tick(9_999);
    await settled();
    const late = assert.rejects(page, { code: 'timeout' });
    test.mock.timers.tick(1);
    await late;
    world.socket.receive(members(world.socket.ops(15)[0], ['late']));
    await settled();
    assert.equal(world.client.state, 'connected');
  });

  it('wait for the message budget without timing out', async (test) => {
    test.mock.timers.enable({ apis: ['setTimeout'] });
    const world = await inRoom();
    const { send } = world.socket;
    // At most four are in flight, so answer each at once.
    world.socket.send = function (text) {
      send.call(this, text);
      const frame = JSON.parse(text);
      if (frame.op === 15) this.receive(members(frame, []));
    };
    const results = [];
    for (let n = 0; n < 100; n++) world.room.members({ after: `${n}` }).then((page) => results.push(page), () => {});
    await settled();
    for (let turn = 0; turn < 10; turn++) await settled();
    assert.ok(world.socket.sent.length <= 96, `${world.socket.sent.length} messages in a minute`);
    assert.ok(results.length > 80, `${results.length} answers`);
    test.mock.timers.tick(60_000);
    for (const ms of [0, 46_000, 14_000]) {
      await world.clock.pass(ms);
      world.socket.receive({ op: 11 });
    }
    await settled();
    assert.equal(results.length, 100);
  });
});

describe('a subscription to a room', () => {
  it('reports presence as an event, and starts with the count', async () => {
    const world = await connected((client) => client.subscribe(ROOM), [state(ROOM)]);
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive({ op: 14, channel: ROOM, count: 3, joined: ['a'] });
    await settled();
    assert.deepEqual(world.events.at(-1), { type: 'presence', channel: ROOM, presence: { count: 3 }, joined: ['a'] });
    const late = [];
    world.client.subscribe(ROOM).on('event', (event) => late.push(event));
    await settled();
    assert.deepEqual(late, [{ type: 'subscribed', channel: ROOM, position: '5-1', presence: { count: 3 } }]);
  });
});
