// Whether users are online, and who is in a room, with a real gateway.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import WebSocket from 'ws';
import { online, presence } from '../dist/presence.js';
import { MemberList } from '../dist/member-list.js';
import { eventually } from './support/deadline.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { enter, open, pagesOf, record, startPresence, urlOf } from './support/real-presence.mjs';
import { startWorker } from './support/worker.mjs';

const ROOM = 'room:7';

describe('with a real gateway, a user', () => {
  it('is known from Ready, and followed through each edge', async (test) => {
    const url = urlOf(await startPresence(test));
    const first = await enter(test, url, 'ada');
    const watcher = open(test, url, 'watcher');
    const ada = online(watcher, 'ada');
    const changes = record(ada, 'change');
    watcher.connect();
    await eventually('ada is online', () => ada.state?.online === true);
    first.close();
    await eventually('ada is away', () => ada.state.online === false);
    await enter(test, url, 'ada');
    await eventually('ada is online again', () => ada.state.online === true);
    assert.deepEqual(
      changes.map(([, { online }]) => online),
      [true, false, true],
    );
    const times = changes.map(([, { at }]) => at);
    assert.deepEqual(times, times.toSorted());
  });

  it('is known from op 6, and followed from there', async (test) => {
    const url = urlOf(await startPresence(test));
    const watcher = await enter(test, url, 'watcher');
    const ada = online(watcher, 'ada');
    await eventually('ada is away', () => ada.state?.online === false);
    await enter(test, url, 'ada');
    await eventually('ada is online', () => ada.state.online === true);
    const late = online(watcher, 'ada');
    await eventually('a later handle has the same state', () => late.state?.at === ada.state.at);
  });

  it('has the state of now after a cut', async (test) => {
    const gateway = await startPresence(test);
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const first = await enter(test, urlOf(gateway), 'ada');
    const watcher = await enter(test, proxy.url, 'watcher');
    const [ada, bob] = [online(watcher, 'ada'), online(watcher, 'bob')];
    await eventually('both states are known', () => ada.state?.online === true && bob.state?.online === false);
    proxy.isDown = true;
    proxy.cutAll();
    await eventually('the watcher is cut', () => watcher.state !== 'connected');
    first.close();
    await enter(test, urlOf(gateway), 'bob');
    await eventually('the gateway knows', async () => {
      const response = await fetch(`http://127.0.0.1:${gateway.admin}/v1/users/ada`);
      return (await response.json()).online === false;
    });
    assert.deepEqual([ada.state.online, bob.state.online], [true, false], 'the last known states');
    proxy.isDown = false;
    await eventually('the new states are known', () => !ada.state.online && bob.state.online);
  });
});

describe('with a real gateway, a room', () => {
  it('reports its count, joins and leaves', async (test) => {
    const url = urlOf(await startPresence(test));
    const room = presence(await enter(test, url, 'watcher'), ROOM);
    const events = record(room, 'count', 'join', 'leave');
    await eventually('the watcher is counted', () => room.count === 1);
    const ada = await enter(test, url, 'ada', ROOM);
    await eventually('ada has joined', () => events.some(([type]) => type === 'join'));
    ada.close();
    await eventually('ada has left', () => events.some(([type]) => type === 'leave'));
    assert.deepEqual(events.slice(-4), [
      ['count', 2],
      ['join', ['ada']],
      ['count', 1],
      ['leave', ['ada']],
    ]);
  });

  it('has two sessions of one user as one member', async (test) => {
    const url = urlOf(await startPresence(test));
    const room = presence(await enter(test, url, 'watcher'), ROOM);
    const one = await enter(test, url, 'ada', ROOM);
    await enter(test, url, 'ada', ROOM);
    await eventually('ada and the watcher are counted', () => room.count === 2);
    assert.deepEqual(await pagesOf(room), [['ada', 'watcher']]);
    const events = record(room, 'count', 'leave');
    one.close();
    const bob = await enter(test, url, 'bob', ROOM);
    await eventually('bob is counted', () => room.count === 3);
    // If ada had left, it would be reported before bob, who leaves later.
    bob.close();
    await eventually('bob has left', () => events.at(-1)?.[0] === 'leave');
    assert.deepEqual(events, [['count', 3], ['count', 2], ['leave', ['bob']]]);
  });

  it('lists more than 100 members by page', async (test) => {
    const url = urlOf(await startPresence(test, { 'presence.max_members': 100 }));
    const room = presence(await enter(test, url, 'watcher'), ROOM);
    const users = Array.from({ length: 120 }, (_, n) => `user-${String(n).padStart(3, '0')}`);
    const joined = [];
    const counts = record(room, 'count');
    room.on('join', (names) => joined.push(...names));
    await Promise.all(users.map((user) => enter(test, url, user, ROOM)));
    await eventually('all are counted', () => room.count === 121);
    assert.ok(joined.length < 100, 'above max_members, joins are not reported');
    const first = await room.members();
    assert.deepEqual(first, { members: users.slice(0, 100), next: 'user-099' });
    assert.deepEqual(await room.members({ after: first.next }), { members: [...users.slice(100), 'watcher'], next: undefined });
    assert.deepEqual((await pagesOf(room)).flat(), [...users, 'watcher']);
    assert.equal(counts.at(-1)[1], 121);
  });

  it('reports no joins and leaves while it is above max_members', async (test) => {
    const url = urlOf(await startPresence(test, { 'presence.max_members': 2 }));
    const room = presence(await enter(test, url, 'watcher'), ROOM);
    const events = record(room, 'count', 'join', 'leave', 'reload');
    const reported = async (...expected) => {
      await eventually(`${expected} is reported`, () => events.length >= expected.length);
      assert.deepEqual(events.splice(0), expected);
    };
    await reported(['count', 1], ['reload', undefined]);
    await enter(test, url, 'ada', ROOM);
    await reported(['count', 2], ['join', ['ada']]);
    const bob = await enter(test, url, 'bob', ROOM);
    await reported(['count', 3], ['reload', undefined]);
    assert.deepEqual(await pagesOf(room), [['ada', 'bob', 'watcher']]);
    bob.close();
    await reported(['count', 2], ['reload', undefined]);
    assert.deepEqual(await pagesOf(room), [['ada', 'watcher']]);
  });

  it('has no members in a namespace with counts', async (test) => {
    const url = urlOf(await startPresence(test));
    const hall = presence(await enter(test, url, 'watcher'), 'hall:1');
    for (let session = 0; session < 2; session++) await enter(test, url, 'ada', 'hall:1');
    await eventually('each session is counted', () => hall.count === 3);
    await assert.rejects(hall.members(), { name: 'PresenceError', code: 'not_allowed' });
    const refused = presence(await enter(test, url, 'watcher'), 'secret:1');
    await assert.rejects(refused.members(), { code: 'not_allowed' });
  });

  it('has the count of now after a cut', async (test) => {
    const gateway = await startPresence(test);
    const proxy = await FaultProxy.start(test, [gateway.public]);
    const ada = await enter(test, urlOf(gateway), 'ada', ROOM);
    const room = presence(await enter(test, proxy.url, 'watcher'), ROOM);
    await eventually('both are counted', () => room.count === 2);
    proxy.isDown = true;
    proxy.cutAll();
    ada.close();
    for (const user of ['bob', 'eve', 'zoe']) await enter(test, urlOf(gateway), user, ROOM);
    const begun = record(room, 'subscribed');
    proxy.isDown = false;
    await eventually('the room is subscribed again', () => begun.length === 1);
    await eventually('the new count is known', () => room.count === 4);
    assert.deepEqual(await pagesOf(room), [['bob', 'eve', 'watcher', 'zoe']]);
  });

  it('is a list that follows joins and leaves', async (test) => {
    const url = urlOf(await startPresence(test));
    const list = new MemberList(presence(await enter(test, url, 'watcher'), ROOM), 200, () => {});
    test.after(() => list.close());
    const shows = (...users) => eventually(`the list is ${users}`, () => list.isComplete && String(list.members) === String(users));
    await shows('watcher');
    const ada = await enter(test, url, 'ada', ROOM);
    await shows('ada', 'watcher');
    await enter(test, url, 'zoe', ROOM);
    ada.close();
    await shows('watcher', 'zoe');
  });
});

it('tabs that share a socket have users, rooms and members', async (test) => {
  const gateway = await startPresence(test);
  const proxy = await FaultProxy.start(test, [gateway.public]);
  const { open: openTab } = startWorker(test, WebSocket);
  const tabs = [1, 2].map(() => openTab({ url: proxy.url, token: 'watcher', backoff: { baseMs: 5, maxMs: 50 } }).tab);
  tabs.forEach((tab) => tab.connect());
  const users = tabs.map((tab) => online(tab, 'ada'));
  const rooms = tabs.map((tab) => presence(tab, ROOM));
  await eventually('both tabs know that ada is away', () => users.every(({ state }) => state?.online === false));
  await eventually('the tabs are one member', () => rooms.every(({ count }) => count === 1));
  await enter(test, urlOf(gateway), 'ada', ROOM);
  await eventually('both tabs know that ada is online', () => users.every(({ state }) => state.online));
  await eventually('both tabs count ada', () => rooms.every(({ count }) => count === 2));
  assert.deepEqual(await Promise.all(rooms.map(pagesOf)), [[['ada', 'watcher']], [['ada', 'watcher']]]);
  proxy.cutAll();
  await eventually('the worker is connected again', () => proxy.accepted >= 2);
  await enter(test, urlOf(gateway), 'bob', ROOM);
  await eventually('both tabs count bob', () => rooms.every(({ count }) => count === 3));
});
