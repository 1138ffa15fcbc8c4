// Starts headless Chromium and a server for the test pages.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/snap/bin/chromium'];
const MACOS = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';

/** The path of Chromium; undefined if it is not installed. */
export const executablePath = [process.env.CHROMIUM, ...CHROMIUM_PATHS, MACOS].find((path) => path && existsSync(path));

/** Starts Chromium; it ends with the test. */
export async function startBrowser(test, options = {}) {
  const args = ['--no-sandbox', '--disable-dev-shm-usage'];
  const browser = await chromium.launch({ executablePath, args, ...options });
  test.after(() => browser.close());
  return browser;
}

/** Runs in a worker: ends or hangs when a test orders it. */
function obeyOrders() {
  new BroadcastChannel('test').onmessage = ({ data }) => {
    if (data === 'end') globalThis.close();
    while (data === 'hang');
  };
}

/**
 * Serves an empty page, the bundles of the package, and pages with React. Returns the origin. Requests to `/report` are
 * added to `reports`; `rendered` is the HTML that React hydrates.
 */
export async function startPages(test, { reports = [], rendered = '' } = {}) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['react.tsx', 'hydrate.mjs', 'presence.mjs', 'chat-page.mjs'].map((name) => `test/pages/${name}`),
    outdir: 'pages',
    bundle: true,
    write: false,
    jsx: 'automatic',
    format: 'iife',
    define: { 'process.env.NODE_ENV': '"development"' },
  });
  const script = (name) => outputFiles.find(({ path }) => path.endsWith(`/${name}.js`)).text;
  const worker = readFileSync(join(root, 'dist/bundle/shared-worker.js'), 'utf8');
  const pages = {
    '/': ['text/html', '<!doctype html><title>test</title><div id="root"></div>'],
    '/react.html': ['text/html', '<!doctype html><div id="root"></div><script src="/react.js"></script>'],
    '/react.js': ['text/javascript', script('react')],
    '/hydrate.html': ['text/html', `<!doctype html><div id="root">${rendered}</div><script src="/hydrate.js"></script>`],
    '/hydrate.js': ['text/javascript', script('hydrate')],
    '/presence.html': ['text/html', `<!doctype html><div id="root">${rendered}</div><script src="/presence.js"></script>`],
    '/presence.js': ['text/javascript', script('presence')],
    '/chat.html': ['text/html', '<!doctype html><div id="root"></div><script src="/chat.js"></script>'],
    '/chat.js': ['text/javascript', script('chat-page')],
    '/gateway-client.js': ['text/javascript', readFileSync(join(root, 'dist/bundle/gateway-client.js'))],
    '/shared-worker.js': ['text/javascript', worker],
    '/orderly-worker.js': ['text/javascript', `${worker};(${obeyOrders})()`],
  };
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    if (path.startsWith('/dist/') && path.endsWith('.js')) {
      response.writeHead(200, { 'content-type': 'text/javascript' });
      return response.end(readFileSync(join(root, 'dist', path.slice(6).replaceAll('..', ''))));
    }
    if (path === '/report') {
      return request.setEncoding('utf8').on('data', (text) => reports.push(JSON.parse(text)) && response.end());
    }
    const page = pages[path];
    response.writeHead(page ? 200 : 404, { 'content-type': page?.[0] ?? 'text/plain' });
    response.end(page?.[1]);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${server.address().port}`;
}
