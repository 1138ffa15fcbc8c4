// The programs in the README compile with the shipped types.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));

// The declarations that the programs use.
const SURROUNDINGS = `
declare const url: string;
declare const userId: string;
declare const getToken: () => Promise<string>;
declare const reload: () => void;
declare const save: (message: unknown) => Promise<void>;
declare const client: import('@emagine/gateway-client').GatewayClient;
declare module 'react-native' {
  export const AppState: { addEventListener(type: 'change', listener: (state: string) => void): { remove(): void } };
}
`;
const CONFIG = {
  compilerOptions: {
    noEmit: true,
    strict: true,
    noImplicitAny: false,
    jsx: 'react-jsx',
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    lib: ['es2022', 'dom', 'dom.iterable'],
    types: ['react'],
    skipLibCheck: true,
  },
  include: ['.'],
};

it('has programs that compile', (test) => {
  const programs = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/^```[jt]sx?\n(.*?)^```/gms)];
  assert.ok(programs.length >= 5, `only ${programs.length} programs found`);
  // The folder is inside the package, so that the package's own name resolves.
  mkdirSync(join(root, 'dist'), { recursive: true });
  const folder = mkdtempSync(join(root, 'dist/readme-'));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  programs.forEach(([, program], index) => writeFileSync(join(folder, `${index}.tsx`), `${program}\nexport {};\n`));
  writeFileSync(join(folder, 'surroundings.d.ts'), SURROUNDINGS);
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(CONFIG));
  const check = () => spawnSync(process.execPath, [join(typescript, 'bin/tsc'), '-p', folder], { encoding: 'utf8' });
  const { status, stdout } = check();
  assert.equal(status, 0, stdout);
  // The check finds a mistake.
  writeFileSync(join(folder, 'mistake.tsx'), "client.on('messages', () => {});\nexport {};\n");
  assert.notEqual(check().status, 0);
});
