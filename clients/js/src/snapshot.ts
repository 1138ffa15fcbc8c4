/** Copies of JSON values that the app sends. */

/** An escape in JSON text. JSON.stringify escapes half of a surrogate pair, but no whole pair. */
const ESCAPE = /\\(?:u[0-9a-f]{4}|.)/g;
const LONE_SURROGATE = /^\\ud[89a-f]/;

/**
 * A copy of a JSON value, because the app may change it afterwards. Half of a surrogate pair, as in a
 * text that was cut, becomes U+FFFD: the gateway would end the session.
 *
 * @throws TypeError if it is not JSON, or longer than `maxBytes` as JSON.
 */
export function snapshot(value: unknown, maxBytes = Infinity): unknown {
  const json = JSON.stringify(value)?.replace(ESCAPE, (escape) => (LONE_SURROGATE.test(escape) ? '\ufffd' : escape));
  if (json === undefined) throw new TypeError('the value is not JSON');
  if (new TextEncoder().encode(json).length > maxBytes) throw new TypeError(`the value is longer than ${maxBytes} bytes`);
  return JSON.parse(json);
}
