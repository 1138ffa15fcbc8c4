// The examples of React, Vue and Svelte in headless Chromium, with a real gateway.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { it } from 'node:test';
import { build } from 'esbuild';
import { compile } from 'svelte/compiler';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { executablePath, startBrowser } from './support/browser.mjs';
import { eventually } from './support/deadline.mjs';
import { startGateway } from './support/gateway.mjs';
import { FaultProxy } from './support/proxy.mjs';

const svelte = {
  name: 'svelte',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => ({
      contents: compile(await readFile(path, 'utf8'), { generate: 'client', filename: path }).js.code,
    })),
};

/** Serves one page with the examples. Returns its origin. */
async function startPage(test) {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('pages/frameworks.jsx', import.meta.url))],
    bundle: true,
    write: false,
    jsx: 'automatic',
    format: 'iife',
    conditions: ['svelte', 'browser'],
    define: {
      'process.env.NODE_ENV': '"development"',
      __VUE_OPTIONS_API__: 'true',
      __VUE_PROD_DEVTOOLS__: 'false',
      __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
    },
    plugins: [svelte],
  });
  const html = `<!doctype html><meta charset="utf-8"><body><script>${outputFiles[0].text.replaceAll('</script', '<\\/script')}</script>`;
  const server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.after(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return `http://127.0.0.1:${server.address().port}`;
}

it('keeps a room current in React, Vue and Svelte', async (test) => {
  assert.ok(executablePath, 'Chromium is not installed: run scripts/setup chromium, or set CHROMIUM to its path');
  const origin = await startPage(test);
  const gateway = await startGateway(test, { 'server.allowed_origins': origin });
  const proxy = await FaultProxy.start(test, [gateway.public]);
  const browser = await startBrowser(test);
  const page = await browser.newPage();
  page.on('pageerror', (error) => test.diagnostic(`page error: ${error}`));
  await page.goto(origin);
  const all = (text) =>
    eventually(`all show ${text}`, async () => (await page.evaluate(() => window.texts())).every((one) => one === text));

  await page.evaluate((url) => window.start(url), proxy.url);
  await all('one');
  const loads = await page.evaluate(() => window.loads);

  // A message during a cut arrives without a load.
  proxy.isDown = true;
  proxy.cutAll();
  await gateway.publish('room:7', { id: 2, text: 'two' });
  proxy.isDown = false;
  await all('one two');
  assert.equal(await page.evaluate(() => window.loads), loads);

  await Promise.all(Array.from({ length: 200 }, (_, n) => gateway.publish('room:7', { id: 2, text: `n${n}` })));
  await gateway.publish('room:7', { id: 2, text: 'last' });
  await all('one last');
});
