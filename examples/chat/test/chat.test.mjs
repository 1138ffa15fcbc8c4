// The chat in headless Chromium: real gateways behind a balancer, Redis, the backend and its workers.
// SCREENSHOTS=1 takes the pictures in docs/images.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { executablePath, startBrowser } from '../../../clients/js/test/support/browser.mjs';
import { eventually } from '../../../clients/js/test/support/deadline.mjs';
import { startGateway, startRedis } from '../../../clients/js/test/support/gateway.mjs';
import { FaultProxy } from '../../../clients/js/test/support/proxy.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, '../../..');
const python = join(repository, 'target/chat/bin/python');
const images = join(repository, 'docs/images');

/** Runs a module of the backend until the test ends. Returns its lines. */
function runModule(test, arguments_, env) {
  const child = spawn(python, ['-m', ...arguments_], { cwd: join(here, '../backend'), env: { ...process.env, ...env } });
  const lines = [];
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', (line) => lines.push(line));
  test.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return lines;
}

/** Starts all of the chat with two replicas of the gateway. */
async function startChat(test) {
  assert.ok(existsSync(python), 'the packages of the backend are not installed: run scripts/setup chat');
  assert.ok(existsSync(join(here, '../frontend/dist/chat.js')), 'the front end is not built: node examples/chat/frontend/build.mjs');
  const folder = mkdtempSync(join(tmpdir(), 'chat-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const secretFile = join(folder, 'secret');
  const secret = randomBytes(32).toString('hex');
  writeFileSync(secretFile, secret, { mode: 0o600 });
  const redis = await startRedis(test);
  const settings = {
    'broker.url': redis,
    'auth.kind': 'jwt',
    'auth.secret_file': secretFile,
    'server.allowed_origins': '*',
    'channels.public_namespaces': '',
    'presence.enabled': true,
    'presence.grace': '500ms',
    'namespaces.room.presence': 'members',
    'namespaces.room.send': true,
    'namespaces.room.signals': true,
  };
  const gateways = [await startGateway(test, settings), await startGateway(test, settings)];
  const proxy = await FaultProxy.start(test, gateways.map((gateway) => gateway.public));
  const env = {
    REDIS_URL: redis,
    CHAT_SECRET_FILE: secretFile,
    CHAT_STORE: join(folder, 'chat.sqlite'),
    GATEWAY_WS_URL: proxy.url,
    PYTHONUNBUFFERED: '1',
  };
  const lines = runModule(test, ['uvicorn', 'chat.app:app', '--host', '127.0.0.1', '--port', '0'], env);
  const address = () => lines.map((line) => /running on (http:\S+)/.exec(line)?.[1]).find(Boolean);
  await eventually('the backend listens', address, 30_000);
  runModule(test, ['chat.inbox_worker'], env);
  const pushes = runModule(test, ['chat.push_worker'], env);
  return { url: address(), gateways, proxy, pushes };
}

/** A person with a browser of their own. */
async function enter(test, browser, chat, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 640 }, ...options });
  test.after(() => context.close());
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  await page.goto(chat.url);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill('secret');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('heading', { name: '# Lobby' }).waitFor();
  const line = page.getByRole('textbox');
  return {
    page,
    context,
    faults,
    type: (text) => line.pressSequentially(text),
    async say(text) {
      await line.fill(text);
      await line.press('Enter');
    },
    open: (room) => page.getByRole('button', { name: `# ${room}` }).click(),
    messages: () => page.locator('.message:not(.pending) p').allTextContents(),
    reads: (...texts) =>
      eventually(`${name} reads ${texts}`, async () => {
        const shown = await page.locator('.message:not(.pending) p').allTextContents();
        return JSON.stringify(shown) === JSON.stringify(texts);
      }),
    sees: (text) => eventually(`${name} sees ${text}`, async () => (await page.textContent('body')).includes(text)),
    isOnline: (other, is) =>
      eventually(`${name} sees that ${other} is ${is ? 'online' : 'away'}`, async () => {
        const member = page.locator('.members li', { hasText: other });
        return (await member.count()) > 0 && (await member.getAttribute('data-online')) === String(is);
      }),
  };
}

it('two people talk, one goes offline, and a replica is killed', async (test) => {
  assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
  const chat = await startChat(test);
  const browser = await startBrowser(test);
  const ada = await enter(test, browser, chat, 'Ada');
  const bob = await enter(test, browser, chat, 'Bob', { colorScheme: 'dark' });
  const spoken = [];
  const say = async (who, text) => {
    await who.say(text);
    spoken.push(text);
    await Promise.all([ada, bob].map((one) => one.reads(...spoken)));
  };

  // They talk, and see that the other one is there and types.
  await say(ada, 'Hello Bob! Is the new gateway live?');
  await say(bob, 'Since this morning. 40 000 people are connected.');
  await bob.isOnline('Ada', true);
  await ada.isOnline('Bob', true);
  await say(ada, 'And nobody noticed the deployment?');
  await bob.type('Nobody. ');
  await ada.sees('Bob is typing…');
  if (process.env.SCREENSHOTS) {
    await ada.page.screenshot({ path: join(images, 'chat-light.png') });
    await bob.page.screenshot({ path: join(images, 'chat-dark.png') });
  }

  // A replica is killed: every message arrives once nevertheless.
  chat.gateways[0].child.kill('SIGKILL');
  await say(ada, 'I have just killed a replica.');
  await say(bob, 'Then the other one works.');

  // Bob goes offline. Ada sees it, and a push is sent.
  chat.proxy.isDown = true;
  await bob.context.setOffline(true);
  await bob.page.evaluate(() => dispatchEvent(new Event('offline')));
  chat.proxy.cutAll();
  await bob.sees('Offline.');
  await bob.say('Written in a tunnel.');
  chat.proxy.isDown = false;
  await ada.isOnline('Bob', false);
  await ada.say('Are you in a tunnel?');
  await ada.open('Lunch');
  await ada.say('Who eats?');
  await eventually('a push is sent', () => chat.pushes.some((line) => line.includes('Are you in a tunnel?')), 20_000);
  await ada.open('Lobby');

  // Bob returns: he gets what he missed, and what he wrote is sent. Lunch has one unread message.
  await bob.context.setOffline(false);
  await bob.page.evaluate(() => dispatchEvent(new Event('online')));
  spoken.push('Are you in a tunnel?', 'Written in a tunnel.');
  await Promise.all([ada, bob].map((one) => one.reads(...spoken)));
  await eventually('Lunch has one unread message', async () => (await bob.page.locator('.unread').allTextContents()).join() === '1');
  await bob.open('Lunch');
  await bob.reads('Who eats?');
  await eventually('nothing is unread', async () => (await bob.page.locator('.unread').count()) === 0);

  // What was said is there after a new start of the page.
  await bob.page.reload();
  await bob.reads(...spoken);
  assert.deepEqual([...ada.faults, ...bob.faults], []);
});

/** Runs a program with the modules of the backend, which must end without an error. */
function runProgram(program) {
  const env = { ...process.env, CHAT_STORE: ':memory:' };
  const { status, stderr } = spawnSync(python, ['-c', program], { cwd: join(here, '../backend'), env, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

it('the inbox worker drops what it can never store', () => {
  runProgram(`
from chat.inbox_worker import parse

entry = {"channel": "room:1", "user": "2", "message": '{"text": " hi "}'}
assert parse(entry) == (1, 2, "hi")
for change in [
    {"channel": "room:" + "9" * 30},
    {"channel": "user:2"},
    {"user": "ada"},
    {"message": "9" * 5_000},
    {"message": '{"text": 1}'},
    {"message": '{"text": " "}'},
]:
    assert parse({**entry, **change}) is None, change
`);
});

it('two logins at once add a new name once', () => {
  runProgram(`
from chat.store import Store

store = Store()
store.prepare()
store.add_user("Ada", b"first")
store.add_user("ada", b"second")
assert store.user_named("ADA")["password"] == b"first"
assert [one["name"] for one in store.members_of(1)] == ["Ada"]
`);
});
