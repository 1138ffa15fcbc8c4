// This client in the conformance kit for clients of any language (clients/conformance), and the kit itself.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GatewayClient } from '../dist/index.js';

const KIT = fileURLToPath(new URL('../../conformance/', import.meta.url));
const ADAPTER = fileURLToPath(new URL('./conformance/adapter.mjs', import.meta.url));

/** Runs Python in the folder of the kit, and resolves with its output if it exits with 0. */
function python(...args) {
  return new Promise((resolve, reject) => {
    execFile('python3', args, { cwd: KIT, timeout: 120_000, maxBuffer: 1e8 }, (error, stdout, stderr) => {
      if (error?.code === 'ENOENT') reject(new Error('python3 is missing; the conformance kit needs it'));
      else if (error) reject(new Error(`${stdout.replace(/^ok .*\n/gm, '')}${stderr}`));
      else resolve(stdout);
    });
  });
}

/** Only `disconnect` may be missing. */
const WITHOUT = 'disconnect' in GatewayClient.prototype ? [] : ['--without', 'disconnect'];
const run = (...options) => python('run.py', ...WITHOUT, ...options, '--', process.execPath, ADAPTER);

describe('the conformance kit', () => {
  it('finds that this client passes every scenario', async () => {
    assert.match(await run(), /^@emagine\/gateway-client: \d\d scenarios, 0 failed/m);
  });

  it('notices every mutant of this client', async () => {
    await run('--mutants');
  });

  it('passes its own tests', async () => {
    await python('-m', 'unittest', 'discover', 'tests');
  });
});
