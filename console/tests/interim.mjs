import { stub } from "./stubs.mjs";
export async function interim(page, gateway) {
  const headers = {};
  page.on("request", (r) => { const a = r.headers().authorization; if (a) headers.authorization = a; else delete headers.authorization; });
  const call = async (method, path) => {
    const answer = await fetch(`${gateway.admin}${path}`, { method, headers });
    return { status: answer.status, ...(await answer.json()) };
  };
  await page.route((url) => url.pathname === "/v1/sessions", async (route) => {
    const url = new URL(route.request().url());
    url.searchParams.delete("channel"); url.searchParams.delete("after");
    const response = await route.fetch({ url: url.href }).catch(() => null);
    if (!response) return route.abort("internetdisconnected").catch(() => {});
    const json = await response.json();
    for (const one of json.sessions ?? []) one.replica = "a-00000000";
    await route.fulfill({ response, json: { ...json, next: null, missing: [] } }).catch(() => {});
  });
  await stub(page, "/v1/control", async ({ body }) => {
    const { user, session } = body.disconnect ?? {};
    const { status, disconnected } = await call("POST", user ? `/v1/users/${user}/disconnect` : `/v1/sessions/${session}/disconnect`);
    return { id: "1-0", replicas: { "a-00000000": disconnected ?? 0 }, missing: [] };
  });
}
