// Starts real gateways and Redis servers on free ports; they end with the test.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { deadline, eventually } from './deadline.mjs';

const repository = join(dirname(fileURLToPath(import.meta.url)), '../../../..');
const target = process.env.CARGO_TARGET_DIR ?? join(repository, 'target');
const BINARY = process.env.GATEWAY_BINARY ?? join(target, 'debug/emagine-gateway');

/** Starts a gateway on free ports with these settings. */
export async function startGateway(test, settings = {}) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} does not exist: run cargo build --bin emagine-gateway`);
  const all = {
    'server.public_addr': '127.0.0.1:0',
    'server.admin_addr': '127.0.0.1:0',
    'server.workers': 2,
    'auth.kind': 'insecure',
    'channels.public_namespaces': 'room',
    ...settings,
  };
  const arguments_ = Object.entries(all).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GATEWAY_')));
  const child = run(test, BINARY, arguments_, { ...environment, RUST_LOG: 'info' });
  const ports = {};
  const lines = [];
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      const found = /(public|admin): listening on [^ ]*:(\d+)/.exec(line);
      if (found) ports[found[1]] = Number(found[2]);
      if (ports.public && ports.admin) resolve();
    });
    child.on('exit', (code) => reject(new Error(`the gateway exited with ${code}:\n${lines.join('\n')}`)));
  });
  await deadline(listening, 'the gateway listens');
  const admin = `http://127.0.0.1:${ports.admin}`;
  await eventually('the gateway is ready', async () => (await fetch(`${admin}/readyz`)).ok);
  return { ...ports, child, publish: (channel, message, durable) => publish(admin, channel, message, durable) };
}

/** Publishes over HTTP, durably by default. Returns the position. */
async function publish(admin, channel, message, durable = true) {
  const body = JSON.stringify({ channel, message, durable });
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${admin}/v1/publish`, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(`the gateway answered the publication with ${response.status}: ${await response.text()}`);
  return (await response.json()).position;
}

/** Starts a redis-server without persistence, and returns its URL. */
export async function startRedis(test) {
  const isInstalled = spawnSync('redis-server', ['--version']).status === 0;
  if (!isInstalled) throw new Error('redis-server is not installed: run scripts/setup redis');
  const port = await freePort();
  const arguments_ = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const child = run(test, 'redis-server', arguments_.map(String), process.env);
  child.stdout.resume();
  child.stderr.resume();
  await eventually('Redis answers', () =>
    spawnSync('redis-cli', ['-p', String(port), 'ping']).stdout?.includes('PONG'),
  );
  return `redis://127.0.0.1:${port}`;
}

/** Runs a program in a temporary directory until the test ends. */
function run(test, program, arguments_, env) {
  const cwd = mkdtempSync(join(tmpdir(), 'gateway-client-'));
  const child = spawn(program, arguments_, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  if (program === BINARY) child.stdout.resume();
  const ended = new Promise((resolve) => child.once('exit', resolve));
  test.after(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(cwd, { recursive: true, force: true });
  });
  return child;
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
