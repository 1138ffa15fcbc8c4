// JSON whose large integers keep their digits. JSON.parse alone would round them.

import { byId, element, setStatus } from "./page.js";

// A browser lays out long texts slowly.
const MAX_SHOWN = 16_384;
const PREVIEW = 240;
// A string, with a colon if it is a name; a literal; a number.
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g;

// Browsers without JSON.rawJSON show rounded numbers.
function keepDigits(key, value, context) {
  const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && JSON.rawJSON && context?.source ? JSON.rawJSON(context.source) : value;
}

export const parseJson = (text) => JSON.parse(text, keepDigits);

const cut = (text, length) => (text.length > length ? `${text.slice(0, length)}… (${text.length} characters)` : text);

// The beginning of a text, for one line of a list.
export const preview = (text) => cut(text, PREVIEW);

// The text with line breaks and indents, or the same text if it is not JSON.
export function prettyJson(text) {
  try {
    return JSON.stringify(parseJson(text), null, 2);
  } catch {
    return text;
  }
}

function tokenKind([text, string, colon]) {
  if (string) return colon ? "name" : "string";
  return /^[tfn]/.test(text) ? "literal" : "digits";
}

// Shows JSON over several lines, in colours.
export function jsonView(text) {
  const pretty = cut(prettyJson(text), MAX_SHOWN);
  const code = element("code");
  let end = 0;
  for (const match of pretty.matchAll(TOKEN)) {
    const token = match[1] ?? match[0];
    code.append(pretty.slice(end, match.index), element("span", { class: tokenKind(match) }, token));
    end = match.index + token.length;
  }
  code.append(pretty.slice(end));
  return element("pre", { class: "json" }, code);
}

// Why a text is not JSON, or "".
export function jsonProblem(text) {
  try {
    parseJson(text);
    return "";
  } catch (error) {
    return `The message is not valid JSON: ${error.message}`;
  }
}

// Returns the JSON in a field, or null if it is invalid: then the field is marked, and the status shows why.
export function readJson(id, statusId) {
  const field = byId(id);
  const problem = jsonProblem(field.value);
  if (problem) {
    field.setAttribute("aria-invalid", "true");
    setStatus(statusId, problem, "bad");
    return null;
  }
  field.removeAttribute("aria-invalid");
  return field.value;
}
