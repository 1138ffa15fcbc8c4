// The shipped package: its size, and every way of loading it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
// The only modules that import React.
const REACT = ['react.js', 'react-messages.js', 'react-presence.js', 'react-room.js'];
const read = (path) => readFileSync(join(root, path), 'utf8');
const MAX_BYTES = 6 * 1024;
const MAX_PRESENCE_BYTES = 2 * 1024;
const MAX_MESSAGES_BYTES = 3 * 1024;

it('is at most 6 KiB, compressed', (test) => {
  const bytes = gzipSync(read('dist/bundle/gateway-client.js'), { level: 9 }).length;
  test.diagnostic(`${bytes} bytes`);
  assert.ok(bytes <= MAX_BYTES, `${bytes} bytes`);
});

it('has a presence entry of less than 2 KiB, compressed', (test) => {
  const bytes = gzipSync(read('dist/bundle/gateway-presence.js'), { level: 9 }).length;
  test.diagnostic(`${bytes} bytes`);
  assert.ok(bytes < MAX_PRESENCE_BYTES, `${bytes} bytes`);
});

it('has an entry for messages of less than 3 KiB, compressed', (test) => {
  const bytes = gzipSync(read('dist/bundle/gateway-messages.js'), { level: 9 }).length;
  test.diagnostic(`${bytes} bytes`);
  assert.ok(bytes < MAX_MESSAGES_BYTES, `${bytes} bytes`);
});

it('depends on nothing at run time', () => {
  const { dependencies, peerDependenciesMeta } = JSON.parse(read('package.json'));
  assert.equal(dependencies, undefined);
  assert.equal(peerDependenciesMeta.react.optional, true);
  for (const file of readdirSync(join(root, 'dist')).filter((name) => name.endsWith('.js') && !REACT.includes(name))) {
    for (const [, source] of read(`dist/${file}`).matchAll(/from '([^']+)'/g)) assert.match(source, /^\.\//, file);
  }
});

it('can be imported and required', async () => {
  const require = createRequire(import.meta.url);
  for (const [entry, name] of [
    ['', 'GatewayClient'],
    ['/messages', 'send'],
    ['/presence', 'online'],
    ['/react', 'useChannel'],
    ['/react', 'useOnline'],
    ['/react', 'useSend'],
    ['/shared', 'SharedClient'],
  ]) {
    const path = `@emagine/gateway-client${entry}`;
    assert.equal(typeof (await import(path))[name], 'function', path);
    assert.equal(typeof require(path)[name], 'function', path);
  }
  assert.ok(require.resolve('@emagine/gateway-client/shared-worker.js'));
});

it('passes the same tests as a minified bundle', () => {
  const tests = ['channels', 'connection', 'recovering', 'returning', 'input', 'tokens', 'since', 'visibility'];
  tests.push('session', 'listeners', 'batching', 'parser', 'presence', 'history', 'send');
  const files = tests.map((name) => join(root, `test/${name}.test.mjs`));
  const { NODE_TEST_CONTEXT, ...env } = process.env;
  const CLIENT = join(root, 'dist/bundle/gateway-client.js');
  const options = { env: { ...env, CLIENT }, encoding: 'utf8' };
  const { status, stdout } = spawnSync(process.execPath, ['--test', ...files], options);
  assert.equal(status, 0, stdout);
  assert.match(stdout, /^# pass [1-9]\d\d$/m);
});

it('has one BufferOverflow for all ways of loading it', async () => {
  const require = createRequire(import.meta.url);
  const entries = ['', '/shared', '/bundle.js'].map((entry) => `@emagine/gateway-client${entry}`);
  const modules = await Promise.all(entries.map((path) => import(path)));
  const all = [...modules, ...entries.slice(0, 2).map((path) => require(path))].map((module) => module.BufferOverflow);
  assert.equal(require(entries[0]).BufferOverflow, require(entries[1]).BufferOverflow);
  assert.equal(modules[0].BufferOverflow, modules[1].BufferOverflow);
  for (const thrown of all) {
    for (const caught of all) assert.ok(new thrown(1) instanceof caught);
  }
  assert.ok(!(new Error('another') instanceof all[0]) && !(null instanceof all[0]));
});

it('keeps its worker in a bundle with tree shaking', async () => {
  const bundle = async (contents, more) => {
    const options = { bundle: true, write: false, minify: true, format: 'esm', ...more };
    const { outputFiles } = await build({ stdin: { contents, resolveDir: join(root, 'test') }, ...options });
    return outputFiles[0].text;
  };
  for (const path of ['@emagine/gateway-client/shared-worker.js', '../dist/shared-worker.js', '../src/shared-worker.ts']) {
    assert.match(await bundle(`import '${path}';`), /onconnect/, path);
  }
  // The other modules have no side effects, so an unused import adds nothing.
  const unused = ['', '/live-list', '/shared', '/messages', '/presence', '/testing'].map((entry) => `import '@emagine/gateway-client${entry}';`);
  assert.ok((await bundle(unused.join(' '))).length < 10);
});

it('is found by tools that do not support exports', async (test) => {
  // A copy of the package without `exports`, as these tools see it.
  mkdirSync(join(root, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(root, 'dist/old-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const { exports: _, typesVersions: __, ...plain } = JSON.parse(read('package.json'));
  const installed = join(folder, 'node_modules/@emagine/gateway-client');
  mkdirSync(installed, { recursive: true });
  writeFileSync(join(installed, 'package.json'), JSON.stringify(plain));
  for (const file of plain.files.filter((name) => !['dist', 'src'].includes(name))) {
    cpSync(join(root, file), join(installed, file), { recursive: true });
  }
  mkdirSync(join(installed, 'dist'));
  for (const file of readdirSync(join(root, 'dist'), { withFileTypes: true })) {
    if (!file.name.startsWith('old-') && !file.name.startsWith('readme-')) {
      cpSync(join(root, 'dist', file.name), join(installed, 'dist', file.name), { recursive: true });
    }
  }
  const program = `
    const names = ['', '/live-list', '/messages', '/presence', '/react', '/shared', '/testing'].map((entry) => Object.keys(require('@emagine/gateway-client' + entry)));
    console.log(JSON.stringify(names));`;
  writeFileSync(join(folder, 'program.cjs'), program);
  const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'program.cjs')], { encoding: 'utf8' });
  assert.match(stdout, /GatewayClient.*allHistory.*presence.*useChannel.*SharedClient/, stderr);
  const found = await build({
    stdin: { contents: "export { useChannel } from '@emagine/gateway-client/react';", resolveDir: folder },
    bundle: true,
    write: false,
    format: 'esm',
    external: ['react'],
  });
  assert.match(found.outputFiles[0].text, /useSyncExternalStore/);
});

it('marks its React hooks as client code', () => {
  for (const file of REACT.flatMap((name) => [`dist/${name}`, `dist/cjs/${name}`])) {
    assert.match(read(file), /^("use strict";\n)?['"]use client['"];/, file);
  }
});

it('has the same types for import and require', () => {
  const { exports } = JSON.parse(read('package.json'));
  for (const { import: es, require: common } of Object.values(exports).filter((one) => one.import)) {
    assert.equal(read(es.types), read(common.types));
  }
});

it('has types that compile with every check', (test) => {
  mkdirSync(join(root, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(root, 'dist/old-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const entries = ['', '/live-list', '/messages', '/presence', '/react', '/shared', '/testing'].map((entry) => `import '@emagine/gateway-client${entry}';`);
  writeFileSync(join(folder, 'app.mts'), `${entries.join('\n')}\n`);
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const options = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--lib', 'es2022,dom', '--types', 'react'];
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, join(folder, 'app.mts')], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

it('supports the oldest Node version that the tests use', () => {
  const oldest = JSON.parse(read('package.json')).engines.node.replace('>=', '');
  assert.ok(read('README.md').includes(`Node ${oldest} or later`));
  assert.match(read('../../scripts/setup'), new RegExp(`^NODE_MAJOR=${oldest}$`, 'm'));
  assert.equal(JSON.parse(read('../../console/package.json')).engines.node, `>=${oldest}`);
  assert.ok(Number(process.versions.node.split('.')[0]) >= Number(oldest));
});

it('has no host in its lockfiles', () => {
  for (const folder of ['', 'reference/', 'runtimes/', 'sizes/']) {
    assert.doesNotMatch(read(`${folder}package-lock.json`), /resolved|:\/\//);
  }
});

it('has source files of at most 400 lines', () => {
  for (const file of readdirSync(join(root, 'src'))) {
    const lines = read(`src/${file}`).split('\n').length;
    assert.ok(lines <= 400, `${file}: ${lines} lines`);
  }
});
