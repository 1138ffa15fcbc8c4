// Presence in tabs that share a worker.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { online, presence } from '../dist/presence.js';
import { eventually } from './support/deadline.mjs';
import { startWorker } from './support/worker.mjs';

const ADA = 'online:ada';
const ROOM = 'room:7';

/** Two connected tabs; the first has opened something. */
async function connected(test, open, channels) {
  const { open: openTab, accept } = startWorker(test);
  const [one, other] = [openTab(), openTab()].map(({ tab }) => tab);
  const opened = open(one);
  one.connect();
  other.connect();
  const { socket } = await accept(1, channels);
  const isConnected = () => [one, other].every(({ state }) => state === 'connected');
  await eventually('both tabs are connected', isConnected);
  return { one, other, opened, socket, accept };
}

describe('presence in tabs that share a socket', () => {
  it('starts with the latest state in every tab', async (test) => {
    const channels = [{ channel: ADA, position: '5-0', presence: { online: false, at: 100 } }];
    const { one, other, opened, socket } = await connected(test, (tab) => online(tab, 'ada'), channels);
    await eventually('the state is known', () => opened.state?.at === 100);
    socket.receive({ op: 3, channel: ADA, message: { online: true, at: 200 } });
    await eventually('the edge arrives', () => opened.state.online);
    const late = [online(other, 'ada'), online(one, 'ada')];
    for (const handle of late) await eventually('the late state is known', () => handle.state?.at === 200);
    assert.equal(socket.ops(4).length, 0);
    [opened, ...late].forEach((handle) => handle.close());
    await eventually('the channel is unsubscribed', () => socket.ops(5).length === 1);
  });

  it('reports the count, joins and leaves to every tab', async (test) => {
    const { other, opened, socket } = await connected(test, (tab) => presence(tab, ROOM), [{ channel: ROOM, position: '5-0' }]);
    socket.receive({ op: 14, channel: ROOM, count: 3 });
    await eventually('the count is known', () => opened.count === 3);
    const late = presence(other, ROOM);
    await eventually('the late count is known', () => late.count === 3);
    const joined = [];
    for (const room of [opened, late]) room.on('join', (users) => joined.push(...users));
    socket.receive({ op: 14, channel: ROOM, count: 4, joined: ['a'] });
    await eventually('both tabs hear of the join', () => joined.length === 2 && late.count === 4);
  });

  it('gives each tab its own answers', async (test) => {
    const { one, other, socket } = await connected(test, (tab) => presence(tab, ROOM), [{ channel: ROOM, position: '5-0' }]);
    const pages = [presence(one, ROOM).members({ after: 'one' }), presence(other, ROOM).members({ after: 'other' })];
    await eventually('both are sent', () => socket.ops(15).length === 2);
    const asked = socket.ops(15);
    assert.notEqual(asked[0].id, asked[1].id);
    for (const { id, channel, after } of asked) socket.receive({ op: 15, id, channel, members: [`of ${after}`] });
    assert.deepEqual(await Promise.all(pages), [
      { members: ['of one'], next: undefined },
      { members: ['of other'], next: undefined },
    ]);
    const refused = assert.rejects(presence(other, ROOM).members(), { code: 'unavailable' });
    await eventually('it is sent', () => socket.ops(15).length === 3);
    socket.receive({ op: 9, code: 'unavailable', detail: '', id: socket.ops(15)[2].id });
    await refused;
  });

  it('rejects requests when the connection breaks', async (test) => {
    const { opened, socket } = await connected(test, (tab) => presence(tab, ROOM), [{ channel: ROOM, position: '5-0' }]);
    const page = assert.rejects(opened.members(), { code: 'disconnected' });
    await eventually('it is sent', () => socket.ops(15).length === 1);
    socket.end(1006);
    await page;
  });

  it('times out after the request was sent', async (test) => {
    const { opened, socket } = await connected(test, (tab) => presence(tab, ROOM), [{ channel: ROOM, position: '5-0' }]);
    await assert.rejects(opened.members({ timeoutMs: 30 }), { code: 'timeout' });
    assert.ok(socket.ops(15).length <= 1);
  });
});
