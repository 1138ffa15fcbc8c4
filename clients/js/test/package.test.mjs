// What is shipped: how big it is, and that every way of loading it works.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const read = (path) => readFileSync(join(root, path), 'utf8');
const MAX_BYTES = 6 * 1024;

it('is less than 6 KiB, compressed', (test) => {
  const bytes = gzipSync(read('dist/bundle/gateway-client.js'), { level: 9 }).length;
  test.diagnostic(`${bytes} bytes`);
  assert.ok(bytes < MAX_BYTES, `${bytes} bytes`);
});

it('depends on nothing at run time', () => {
  const { dependencies, peerDependenciesMeta } = JSON.parse(read('package.json'));
  assert.equal(dependencies, undefined);
  assert.equal(peerDependenciesMeta.react.optional, true);
  for (const file of readdirSync(join(root, 'dist')).filter((name) => name.endsWith('.js') && name !== 'react.js')) {
    for (const [, source] of read(`dist/${file}`).matchAll(/from '([^']+)'/g)) assert.match(source, /^\.\//, file);
  }
});

it('can be imported and required', async () => {
  const require = createRequire(import.meta.url);
  for (const [entry, name] of [
    ['', 'GatewayClient'],
    ['/react', 'useChannel'],
    ['/shared', 'SharedClient'],
  ]) {
    const path = `@emagine/gateway-client${entry}`;
    assert.equal(typeof (await import(path))[name], 'function', path);
    assert.equal(typeof require(path)[name], 'function', path);
  }
  assert.ok(require.resolve('@emagine/gateway-client/shared-worker.js'));
});

it('has types for both', () => {
  const { exports } = JSON.parse(read('package.json'));
  for (const { import: es, require: common } of [exports['.'], exports['./react'], exports['./shared']]) {
    assert.equal(read(es.types), read(common.types));
  }
});

it('runs on the oldest Node that it promises, which is the oldest that is set up for its tests', () => {
  const oldest = JSON.parse(read('package.json')).engines.node.replace('>=', '');
  assert.ok(read('README.md').includes(`Node ${oldest} or later`));
  assert.match(read('../../scripts/setup'), new RegExp(`^NODE_MAJOR=${oldest}$`, 'm'));
  assert.equal(JSON.parse(read('../../console/package.json')).engines.node, `>=${oldest}`);
  assert.ok(Number(process.versions.node.split('.')[0]) >= Number(oldest));
});

it('names no host in its lockfile', () => {
  assert.doesNotMatch(read('package-lock.json'), /resolved|:\/\//);
});

it('has files that can be read at one sitting', () => {
  for (const file of readdirSync(join(root, 'src'))) {
    const lines = read(`src/${file}`).split('\n').length;
    assert.ok(lines <= 400, `${file}: ${lines} lines`);
  }
});
