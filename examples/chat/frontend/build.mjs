// Builds the front end into dist/, with the tools and libraries of clients/js.
import { cpSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const client = join(here, '../../../clients/js');
const { build } = createRequire(join(client, 'package.json'))('esbuild');

mkdirSync(join(here, 'dist'), { recursive: true });
for (const name of ['index.html', 'style.css']) cpSync(join(here, 'src', name), join(here, 'dist', name));
await build({
  entryPoints: [join(here, 'src/main.jsx')],
  outfile: join(here, 'dist/chat.js'),
  bundle: true,
  minify: true,
  jsx: 'automatic',
  format: 'esm',
  target: 'es2022',
  nodePaths: [join(client, 'node_modules')],
  alias: { '@emagine/gateway-client': client },
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning',
});
