// The chat's own server.

/** A request that the server refused. `status` is its HTTP status. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, { body, signal } = {}) {
  const options = body ? { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {};
  const deadline = AbortSignal.timeout(10_000);
  const response = await fetch(`/api/${path}`, { ...options, signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
  if (response.status === 204) return undefined;
  const answer = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) throw new Refused(response.status, typeof answer.detail === 'string' ? answer.detail : 'not accepted');
  return answer;
}

export const me = () => call('me');
export const login = (name, password) => call('login', { body: { name, password } });
export const token = () => call('token', { body: {} });
export const members = (room, signal) => call(`rooms/${room}/members`, { signal });
export const messages = (room, signal) => call(`rooms/${room}/messages`, { signal });
export const earlier = (room, before) => call(`rooms/${room}/messages?before=${before}`);
export const read = (room, number) => call(`rooms/${room}/read`, { body: { number } });
