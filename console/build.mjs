// Builds the console: joins the modules in src/ into one script, and puts it beside the page and its style in dist/,
// from where the gateway's binary takes them.
//
//   node build.mjs          writes dist/
//   node build.mjs --check  says whether dist/ is what src/ makes, and changes nothing
//
// One file instead of ten, because the admin port has few connections. Needs node and nothing else, and makes the same
// bytes everywhere.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const read = (folder, name) => readFileSync(join(here, folder, name), "utf8");

// `import { a, b } from "./module.js";` on one line, at the head of a module, is all that is understood.
const IMPORT = /^import \{[^}]+\} from "\.\/([a-z]+\.js)";\n/gm;

// The modules, each behind those that it needs.
function inOrder(name, done = new Map(), open = []) {
  if (done.has(name)) return done;
  if (open.includes(name)) throw new Error(`a circle of imports: ${[...open, name].join(" → ")}`);
  const text = read("src", name);
  for (const [, needed] of text.matchAll(IMPORT)) inOrder(needed, done, [...open, name]);
  const body = text.replace(IMPORT, "").replace(/^export /gm, "").trim();
  if (/^(import|export)\b/m.test(body)) throw new Error(`${name}: an import or export that is not understood`);
  return done.set(name, body);
}

function script() {
  const modules = inOrder("main.js");
  // All share one scope: a name that two modules declare would be one thing.
  const seen = new Map();
  for (const [name, body] of modules) {
    for (const [, declared] of body.matchAll(/^(?:async )?(?:const|let|function|class) ([A-Za-z_]\w*)/gm)) {
      if (seen.has(declared)) throw new Error(`${declared} is declared by ${seen.get(declared)} and ${name}`);
      seen.set(declared, name);
    }
  }
  const bodies = [...modules].map(([name, body]) => `// ${name}\n\n${body}\n`);
  return `// Made from console/src by console/build.mjs. Do not edit.\n\n${bodies.join("\n")}`;
}

const built = { "index.html": read("src", "index.html"), "app.css": read("src", "app.css"), "app.js": script() };
if (process.argv.includes("--check")) {
  const differing = Object.entries(built).filter(([name, text]) => read("dist", name) !== text).map(([name]) => name);
  if (differing.length > 0) {
    console.error(`console/dist is not what console/src makes: ${differing.join(", ")}. Run 'node console/build.mjs'.`);
    process.exit(1);
  }
} else {
  mkdirSync(join(here, "dist"), { recursive: true });
  for (const [name, text] of Object.entries(built)) writeFileSync(join(here, "dist", name), text);
}
