// Starts the real gateway, and Redis, as child processes on free ports.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const binary = process.env.GATEWAY_BINARY ?? join(root, "target", "debug", "emagine-gateway");
// Long enough for a busy machine.
export const SOON = 30_000;

export async function startGateway(settings = {}, environment = {}) {
  const all = { "server.public_addr": "127.0.0.1:0", "server.admin_addr": "127.0.0.1:0", "server.workers": "2", ...settings };
  const flags = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const child = spawn(binary, flags, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...environment } });
  const [publicAddress, admin] = await listening(child);
  return {
    public: publicAddress,
    admin: `http://${admin}`,
    isInsecure: !all["auth.kind"],
    post: async (path, body) => {
      const answer = await fetch(`http://${admin}${path}`, { method: "POST", body: body && JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    stop: () => new Promise((resolve) => {
      child.once("exit", resolve);
      child.kill("SIGKILL");
    }),
  };
}

// A port that is free now.
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// Starts Redis without persistence.
export async function startRedis() {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "console-redis-"))];
  const flags = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder];
  const child = spawn("redis-server", flags.map(String), { stdio: ["ignore", "pipe", "ignore"] });
  await new Promise((resolve, reject) => {
    const deadline = setTimeout(() => reject(new Error("redis-server did not start")), SOON);
    child.once("error", reject);
    child.stdout.on("data", (data) => {
      if (!String(data).includes("Ready to accept connections")) return;
      clearTimeout(deadline);
      resolve();
    });
  });
  const stop = () => new Promise((resolve) => {
    child.once("exit", () => {
      rmSync(folder, { recursive: true, force: true });
      resolve();
    });
    child.kill("SIGKILL");
  });
  return { url: `redis://127.0.0.1:${port}`, stop };
}

function listening(child) {
  return new Promise((resolve, reject) => {
    let log = "";
    const deadline = setTimeout(() => reject(new Error(`the gateway did not start:\n${log}`)), SOON);
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the gateway exited:\n${log}`)));
    child.stderr.on("data", (data) => {
      log += data;
      const found = ["public", "admin"].map((port) => log.match(new RegExp(`${port}: listening on (\\S+)`))?.[1]);
      if (!found.every(Boolean)) return;
      clearTimeout(deadline);
      resolve(found);
    });
  });
}
