// Prints the size of this client and of others: bundled and minified by one configuration, then compressed with gzip.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const LIBRARIES = [
  ['this client', `export { GatewayClient } from '../dist/index.js'`],
  ['centrifuge', `export { Centrifuge } from 'centrifuge'`],
  ['phoenix', `export { Socket } from 'phoenix'`],
  ['socket.io-client', `export { io } from 'socket.io-client'`],
];

const version = (name) => JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8')).version;

for (const [name, contents] of LIBRARIES) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
  });
  const [{ contents: bytes }] = outputFiles;
  const label = name === 'this client' ? name : `${name} ${version(name)}`;
  console.log(`${label.padEnd(26)}${String(bytes.length).padStart(8)}${String(gzipSync(bytes, { level: 9 }).length).padStart(8)}`);
}
