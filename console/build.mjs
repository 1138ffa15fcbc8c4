// Builds the console: joins the modules in src/ into one script and writes it to dist/, together with the page and its
// style. The gateway's binary includes dist/.
//
//   node build.mjs          writes dist/
//   node build.mjs --check  fails if dist/ differs from what src/ builds, and writes nothing
//
// The script is one file because the admin port accepts few connections. The build needs only Node and is reproducible.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const read = (folder, name) => readFileSync(join(here, folder, name), "utf8");

// The only supported form of import: `import { a, b } from "./module.js";` on one line, at the head of a module.
const IMPORT = /^import \{[^}]+\} from "\.\/([a-z]+\.js)";\n/gm;

// The modules, each after its imports.
function inOrder(name, done = new Map(), open = []) {
  if (done.has(name)) return done;
  if (open.includes(name)) throw new Error(`import cycle: ${[...open, name].join(" → ")}`);
  const text = read("src", name);
  for (const [, needed] of text.matchAll(IMPORT)) inOrder(needed, done, [...open, name]);
  const body = text.replace(IMPORT, "").replace(/^export /gm, "").trim();
  if (/^(import|export)\b/m.test(body)) throw new Error(`${name}: unsupported form of import or export`);
  return done.set(name, body);
}

function script() {
  const modules = inOrder("main.js");
  // All modules share one scope, so each top-level name must be unique.
  const seen = new Map();
  for (const [name, body] of modules) {
    for (const [, declared] of body.matchAll(/^(?:async )?(?:const|let|function|class) ([A-Za-z_]\w*)/gm)) {
      if (seen.has(declared)) throw new Error(`${declared} is declared in both ${seen.get(declared)} and ${name}`);
      seen.set(declared, name);
    }
  }
  const bodies = [...modules].map(([name, body]) => `// ${name}\n\n${body}\n`);
  return `// Built from console/src by console/build.mjs. Do not edit.\n\n${bodies.join("\n")}`;
}

// The second file has the rules for small screens, which override the others.
const style = ["base.css", "app.css"].map((name) => read("src", name)).join("\n");
const built = { "index.html": read("src", "index.html"), "app.css": style, "app.js": script() };
if (process.argv.includes("--check")) {
  const differing = Object.entries(built).filter(([name, text]) => read("dist", name) !== text).map(([name]) => name);
  if (differing.length > 0) {
    console.error(`console/dist is out of date: ${differing.join(", ")}. Run 'node console/build.mjs'.`);
    process.exit(1);
  }
} else {
  mkdirSync(join(here, "dist"), { recursive: true });
  for (const [name, text] of Object.entries(built)) writeFileSync(join(here, "dist", name), text);
}
