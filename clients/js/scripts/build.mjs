// Builds dist/: ES modules and types by tsc, CommonJS and the bundles for pages without a bundler by esbuild.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { minify } from 'terser';
import { LONG_NAME, shorten } from './short-names.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

rmSync(dist, { recursive: true, force: true });
execFileSync(process.execPath, [join(typescript, 'bin/tsc'), '-p', root], { stdio: 'inherit' });

const common = { absWorkingDir: root, bundle: true, target: 'es2022', legalComments: 'none', logLevel: 'warning' };
// Each file by itself, so that the entry points share their classes.
await build({
  absWorkingDir: root,
  entryPoints: readdirSync(join(root, 'src')).map((name) => `src/${name}`),
  outdir: 'dist/cjs',
  format: 'cjs',
  platform: 'neutral',
  target: 'es2022',
  logLevel: 'warning',
});

// A package without "type" in this folder: its .js is CommonJS, and so are the types beside it.
writeFileSync(join(dist, 'cjs/package.json'), '{ "type": "commonjs" }\n');
for (const name of readdirSync(dist).filter((name) => name.endsWith('.d.ts'))) {
  cpSync(join(dist, name), join(dist, 'cjs', name));
}

const bundle = { ...common, minify: true, format: 'esm' };
// Names that no app and no browser sees: callbacks and flags between the classes, and some long ones besides.
const internal = [
  'standing|giving|subscriptions|nextCommand|forgetUser|heartbeatMs|connectMs|requests|deliver|lasted',
  'endWith|failure|lastState|cursor|moves|wire|context|greet|give|forget|probe|drop|note|later|soon',
  'queue|run|tell|emit|finish|stream|stop|wait|retry|afterMs|clear|requesters|maxBytes|own|askAgain|tries',
].join('|');
const mangleProps = new RegExp(`^(on|is)[A-Z]|^(${internal}|budget)$|${LONG_NAME.source}`);
const core = { ...bundle, entryPoints: ['src/index.ts'], mangleProps, write: false };
const { mangleCache } = await build({ ...core, mangleCache: {} });
const { cache, plugin } = shorten(join(root, 'src'), mangleCache);
const { outputFiles } = await build({ ...core, mangleCache: cache, plugins: [plugin] });
// Once more: its names of variables compress better, by 2.5 %.
const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2022, compress: { passes: 3 } });
mkdirSync(join(dist, 'bundle'), { recursive: true });
writeFileSync(join(dist, 'bundle/gateway-client.js'), code);
await build({ ...bundle, entryPoints: ['src/messages.ts'], outfile: 'dist/bundle/gateway-messages.js' });
await build({ ...bundle, entryPoints: ['src/presence.ts'], outfile: 'dist/bundle/gateway-presence.js' });
await build({
  ...bundle,
  entryPoints: ['src/shared-worker.ts'],
  outfile: 'dist/bundle/shared-worker.js',
  format: 'iife',
});
