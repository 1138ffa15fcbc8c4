// Stored tokens, refreshes on demand, and logins as another user.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { userOf } from '../dist/token.js';
import { cut, hello, message, ready, settled, start } from './support/fake.mjs';

const ROOM = 'room:7';

/** A JSON Web Token of a user with the parts that a client reads. */
function jwt(sub, more = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part({ sub, ...more })}.${'s'.repeat(43)}`;
}

/** A client that records the reasons for which its token function was called. */
function asking(answer = (reason) => `token ${reason}`) {
  const reasons = [];
  const world = start({ token: (reason) => (reasons.push(reason), answer(reason)) });
  world.client.connect();
  return { world, reasons };
}

const refuse = async (world) => {
  await hello(world);
  world.socket.end(4003, 'expired');
};

describe('a kept token that the gateway refuses', () => {
  it('is replaced once, and the client connects with the new one', async () => {
    const { world, reasons } = asking();
    await refuse(world);
    assert.equal(world.client.state, 'waiting');
    await world.clock.pass(world.states.at(-1).retryInMs);
    const identify = await ready(world);
    assert.deepEqual([reasons, identify.token], [['connect', 'refused'], 'token refused']);
  });

  it('is final if the new one is refused as well', async () => {
    const { world, reasons } = asking();
    await refuse(world);
    await world.clock.pass(world.states.at(-1).retryInMs);
    await refuse(world);
    assert.deepEqual(world.states.at(-1), { state: 'closed', attempts: 1, code: 4003, reason: 'expired' });
    await world.clock.pass(1_000_000);
    assert.deepEqual(reasons, ['connect', 'refused']);
  });

  it('is replaced after each sleep of the device', async () => {
    const { world, reasons } = asking();
    for (let night = 0; night < 3; night++) {
      await ready(world);
      await world.clock.sleep(8 * 3_600_000);
      world.socket.end(1006);
      await world.clock.pass(world.states.at(-1).retryInMs);
      await refuse(world);
      await world.clock.pass(world.states.at(-1).retryInMs);
    }
    await ready(world);
    assert.equal(world.client.state, 'connected');
    assert.equal(reasons.filter((reason) => reason === 'refused').length, 3);
  });

  it('is replaced even if a socket fails in between', async () => {
    const { world, reasons } = asking();
    await refuse(world);
    await world.clock.pass(world.states.at(-1).retryInMs);
    await cut(world);
    await ready(world);
    assert.deepEqual(reasons, ['connect', 'refused', 'refused']);
  });

  it('is final at once without a token function', async () => {
    const world = start();
    world.client.connect();
    await refuse(world);
    assert.equal(world.client.state, 'closed');
  });
});

describe('refresh()', () => {
  it('sends a new token without reconnecting', async () => {
    const { world, reasons } = asking();
    await ready(world);
    world.client.refresh();
    await world.clock.pass(0);
    assert.deepEqual(world.socket.ops(12), [{ op: 12, token: 'token refresh' }]);
    assert.deepEqual([reasons, world.sockets.length], [['connect', 'refresh'], 1]);
  });

  it('requests a token once per task and once per second', async () => {
    const { world, reasons } = asking();
    await ready(world);
    for (let turn = 0; turn < 100; turn++) {
      world.client.refresh();
      if (turn % 10 === 0) await world.clock.pass(50);
    }
    await world.clock.pass(1_000);
    assert.deepEqual(reasons, ['connect', 'refresh', 'refresh']);
  });

  it('before the connection applies to the next token', async () => {
    const { world, reasons } = asking();
    await ready(world);
    world.socket.end(1006);
    world.client.refresh();
    await world.clock.pass(world.states.at(-1).retryInMs);
    await ready(world);
    await cut(world);
    assert.deepEqual(reasons, ['connect', 'refresh', 'connect']);
  });

  it('that fails is not retried if the token does not expire', async () => {
    let isDown = false;
    const { world, reasons } = asking(() => {
      if (isDown) throw new Error('down');
      return 'token';
    });
    await ready(world);
    isDown = true;
    world.client.refresh();
    await world.clock.pass(9_000);
    assert.deepEqual(reasons, ['connect', 'refresh']);
  });

  it('retries refused channels once the new token is accepted', async () => {
    const { world } = asking();
    const secret = world.client.subscribe('secret:1');
    const received = [];
    secret.on('event', ({ type, reason }) => received.push(reason ?? type));
    const identify = await ready(world);
    assert.deepEqual(identify.channels, [{ channel: 'secret:1' }]);
    world.socket.receive({ op: 6, channel: 'secret:1', state: 'refused', reason: 'not_allowed' });
    world.client.refresh();
    await world.clock.pass(0);
    assert.equal(world.socket.ops(4).length, 0, 'not before the gateway accepts the token');
    world.socket.receive({ op: 13, expires_in: 60_000 });
    await settled();
    assert.deepEqual(world.socket.ops(4), [{ op: 4, channel: 'secret:1' }]);
    assert.equal(secret.state, 'refused', 'until the answer');
    world.socket.receive({ op: 6, channel: 'secret:1', state: 'subscribed', position: '1-0' });
    assert.deepEqual([secret.state, received], ['subscribed', ['not_allowed', 'subscribed']]);
  });

  it('does not report a repeated refusal again', async () => {
    const { world } = asking();
    const received = [];
    world.client.subscribe('secret:1').on('refused', ({ reason }) => received.push(reason));
    await ready(world);
    for (let turn = 0; turn < 3; turn++) {
      world.socket.receive({ op: 6, channel: 'secret:1', state: 'refused', reason: 'not_allowed' });
      world.socket.receive({ op: 13, expires_in: 60_000 });
      await settled();
    }
    assert.deepEqual([world.socket.ops(4).length, received], [3, ['not_allowed']]);
  });
});

describe('a login as another user', () => {
  const positionsOf = (identify) => identify.channels.filter(({ since }) => since !== undefined);

  /** A client that has received messages as one user, and whose next token is another user's. */
  async function switched() {
    let user = '42';
    const { world } = asking(() => jwt(user, { n: Math.random() }));
    const room = world.client.subscribe(ROOM);
    await ready(world, [{ channel: ROOM, position: '5-0' }]);
    world.socket.receive(message(ROOM, 1, '5-1'));
    world.socket.receive(message('user:42', 1, '7-1'));
    user = '43';
    return { world, room, back: () => (user = '42') };
  }

  it('while the client waits sends no position of the earlier user', async () => {
    const { world, room } = await switched();
    const identify = await cut(world);
    assert.deepEqual(positionsOf(identify), []);
    assert.ok(!identify.channels.some(({ channel }) => channel === 'user:42'));
    world.events.length = 0;
    world.socket.receive({ op: 2, user: '43', channels: [{ channel: ROOM, position: '5-9' }] });
    const received = world.events.map(({ type, reason }) => reason ?? type);
    assert.deepEqual(received, ['subscribed', 'not_recovered'], 'the messages in between are reported as missing');
    assert.equal(room.position, '5-9');
  });

  it('after close() sends only positions that the app gives now', async () => {
    const { world } = await switched();
    world.client.close();
    world.client.subscribe('room:8', { since: '8-8' });
    world.client.connect();
    assert.deepEqual(positionsOf(await hello(world)), [{ channel: 'room:8', since: '8-8' }]);
  });

  it('after a final close sends no position of the earlier user', async () => {
    const { world } = await switched();
    world.socket.end(4010);
    assert.equal(world.client.state, 'closed');
    world.client.connect();
    assert.deepEqual(positionsOf(await hello(world)), []);
  });

  it('as the same user sends every position', async () => {
    const { world, back } = await switched();
    back();
    const sinces = positionsOf(await cut(world)).map(({ since }) => since);
    assert.deepEqual(sinces.sort(), ['1-0', '5-1', '7-1']);
  });
});

it('the user is read from each kind of token', () => {
  const signature = 'x'.repeat(27);
  for (const [token, user] of [
    ['42', '42'],
    ['a.b.c', 'a.b.c'],
    [jwt('42'), '42'],
    [jwt('44'), '44'],
    [jwt('\u00fcmlaut?>'), userOf(jwt('\u00fcmlaut?>', { exp: 5 }))],
    [`42.aSBhbQ.${signature}`, '42'],
    [`first.last.aSBhbQ.${signature}`, 'first.last'],
  ]) {
    assert.equal(userOf(token), user, token);
  }
  assert.notEqual(userOf(jwt(undefined, { a: 1 })), userOf(jwt(undefined, { a: 2 })), 'unknown users are different users');
});
