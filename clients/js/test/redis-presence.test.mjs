// Presence while the link to Redis is lost, with real gateways and a real Redis.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemberList } from '../dist/member-list.js';
import { online, presence } from '../dist/presence.js';
import { eventually } from './support/deadline.mjs';
import { startRedis } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';
import { enter, pagesOf, record, startPresence, urlOf } from './support/real-presence.mjs';

const ROOM = 'room:7';

/** Two gateways on one Redis. The link of the first can be cut; `get` asks the second over HTTP. */
async function startTwo(test) {
  const redis = await startRedis(test);
  const link = await FaultProxy.start(test, [Number(new URL(redis).port)]);
  const fast = { 'broker.min_reconnect_delay': '10ms', 'broker.max_reconnect_delay': '50ms' };
  const broker = (url) => ({ 'broker.url': url, ...fast });
  const [near, far] = await Promise.all([
    startPresence(test, broker(link.url.replace('ws:', 'redis:'))),
    startPresence(test, broker(redis)),
  ]);
  const cut = async () => {
    link.isDown = true;
    link.cutAll();
    const isReady = async () => (await fetch(`http://127.0.0.1:${near.admin}/readyz`)).ok;
    await eventually('the gateway has lost its link', async () => !(await isReady()));
  };
  const get = async (path) => (await fetch(`http://127.0.0.1:${far.admin}/v1/${path}`)).json();
  return { near: urlOf(near), far: urlOf(far), link, cut, get };
}

describe('after a lost link to Redis', () => {
  it('a user has the state of now', async (test) => {
    const { near, far, link, cut, get } = await startTwo(test);
    const watcher = await enter(test, near, 'watcher');
    const user = online(watcher, 'ada');
    const gaps = record(watcher, 'gap');
    await eventually('ada is away', () => user.state?.online === false);
    const ada = await enter(test, far, 'ada');
    await eventually('ada is online', () => user.state.online);
    await cut();
    ada.close();
    await eventually('Redis knows that ada is away', async () => !(await get('users/ada')).online);
    assert.equal(user.state.online, true, 'the last known state');
    link.isDown = false;
    await eventually('the state is known', () => !user.state.online);
    assert.ok(gaps.some(([, { channel, reason }]) => channel === 'online:ada' && reason === 'link_lost'));
    assert.equal(watcher.state, 'connected');
  });

  it('a list of members is loaded again, also with the same count', async (test) => {
    const { near, far, link, cut, get } = await startTwo(test);
    const watcher = await enter(test, near, 'watcher');
    const room = presence(watcher, ROOM);
    const list = new MemberList(presence(watcher, ROOM), 200, () => {});
    test.after(() => list.close());
    const shows = (...users) => eventually(`the list is ${users}`, () => list.isComplete && String(list.members) === String(users));
    const ada = await enter(test, far, 'ada', ROOM);
    await shows('ada', 'watcher');
    await cut();
    await enter(test, far, 'zoe', ROOM);
    ada.close();
    const isThere = ({ members }) => String(members) === 'watcher,zoe';
    await eventually('Redis knows of both', async () => isThere(await get(`channels/${ROOM}/members`)));
    const reloads = record(room, 'reload');
    link.isDown = false;
    await eventually('the app is told to load the members', () => reloads.length > 0);
    assert.deepEqual(await pagesOf(room), [['watcher', 'zoe']]);
    await shows('watcher', 'zoe');
  });

  it('members are unavailable while Redis is down, and later not', async (test) => {
    const { near, link, cut } = await startTwo(test);
    const room = presence(await enter(test, near, 'watcher'), ROOM);
    await eventually('the watcher is counted', () => room.count === 1);
    await cut();
    await assert.rejects(room.members(), { name: 'PresenceError', code: 'unavailable' });
    assert.equal(room.count, 1, 'the last known count');
    link.isDown = false;
    const members = () => room.members().catch(() => undefined);
    assert.deepEqual(await eventually('the members can be read', members), { members: ['watcher'], next: undefined });
  });

  it('a user and a room that were opened meanwhile become known', async (test) => {
    const { near, far, link, cut } = await startTwo(test);
    await enter(test, far, 'ada', ROOM);
    const watcher = await enter(test, near, 'watcher');
    await cut();
    const [user, room] = [online(watcher, 'ada'), presence(watcher, ROOM)];
    const page = room.members({ timeoutMs: 30_000 });
    await eventually('both are recovering', () => [user, room].every(({ subscription }) => subscription.state === 'recovering'));
    assert.deepEqual([user.state, room.count], [undefined, undefined]);
    link.isDown = false;
    await eventually('the state is known', () => user.state?.online === true);
    await eventually('the room is counted', () => room.count === 2);
    assert.ok((await page).members.includes('ada'));
  });
});
