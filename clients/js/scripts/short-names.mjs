// Short names for the private fields of the core's bundle. Every class uses the same few names, which compress better
// than `#name`, and fields without a value need no declaration.
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

const LETTERS = [...'tesinhroacuplmdfgbvwykxTSECAMOLRNPIFqjzBDGHJKQUVWXYZ$_'];
const NAMES = [...LETTERS, ...LETTERS.map((letter) => `${letter}0`)];
const PRIVATE = /#([a-z]\w*)/g;
const DECLARATION = /^  (?:readonly )?#\w+(?:: [^=;]*)?;\n/gm;
const MEMBER = /^  (?:(?:readonly|override|abstract|get|static|async) )*([a-z]\w*)[(:?!; =<]/gm;

/** The name of a private field that is unique in the bundle, until it becomes a short name. */
const longName = (file, name) => `_${basename(file, '.ts').replaceAll('-', '')}_${name}`;

/** The properties that `shorten` names. */
export const LONG_NAME = /^_[a-z]+_\w/;

/**
 * A plugin for esbuild that turns private fields into properties, and a cache with their short names. `publicNames` has
 * the short names of other properties. A field has another name than the public members of its class, and than
 * everything in the class that it extends.
 */
export function shorten(folder, publicNames) {
  const cache = { ...publicNames };
  const read = (file) => readFileSync(join(folder, file), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
  const membersOf = (file) => [...read(file).matchAll(MEMBER)].map(([, name]) => publicNames[name]);
  const name = (file, names, taken) => {
    const uses = new Map();
    for (const [, field] of read(file).matchAll(PRIVATE)) uses.set(field, (uses.get(field) ?? 0) + 1);
    const free = names.filter((one) => !taken.includes(one));
    const fields = [...uses].sort(([, one], [, other]) => other - one).map(([field]) => field);
    fields.forEach((field, index) => (cache[longName(file, field)] = free[index]));
    return free.slice(0, fields.length);
  };
  const files = readdirSync(folder);
  const derived = files.filter((file) => /extends (Emitter|ClientBase)/.test(read(file)));
  // The base class gets the letters that its subclasses need least.
  const base = [
    ...name('emitter.ts', [...LETTERS].reverse(), ['emitter.ts', ...derived].flatMap(membersOf)),
    ...['emitter.ts', 'client-base.ts'].flatMap(membersOf),
  ];
  for (const file of files) {
    if (file !== 'emitter.ts') name(file, NAMES, membersOf(file).concat(derived.includes(file) ? base : []));
  }
  const plugin = {
    name: 'short names',
    setup: ({ onLoad }) =>
      onLoad({ filter: /[\\/]src[\\/][^\\/]*\.ts$/ }, ({ path }) => ({
        loader: 'ts',
        contents: readFileSync(path, 'utf8')
          .replace(DECLARATION, '')
          .replace(PRIVATE, (_, field) => longName(path, field)),
      })),
  };
  return { cache, plugin };
}
