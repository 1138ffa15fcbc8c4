// The admin API. The key stays in this module's memory and is sent only in the Authorization header.

import { parseJson } from "./json.js";
import { byId, onSubmit } from "./page.js";

let key = "";
let wasDismissed = false;
// The answer to a missing or wrong key. No request is sent until another key is entered.
let refusal = null;

export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

// The gateway answers within five seconds, even if a replica does not respond.
const REQUEST_TIMEOUT_MS = 10_000;

export async function request(method, path, body) {
  if (refusal) throw refusal;
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  if (body !== undefined) headers["content-type"] = "application/json";
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const answer = await fetch(path, { method, headers, body, signal, cache: "no-store", credentials: "omit" });
  const json = await answer.text().then(parseJson).catch(() => ({}));
  if (answer.ok) return json;
  const { code = "unknown", detail = `HTTP ${answer.status}` } = json.error ?? {};
  const error = new ApiError(answer.status, code, detail);
  if (answer.status === 401) {
    refusal = error;
    byId("key-wrong").hidden = key === "";
    document.body.dataset.access = "locked";
    if (!wasDismissed) showKeyDialog();
  }
  throw error;
}

function showKeyDialog() {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  dialog.returnValue = "";
  dialog.showModal();
}

// Whether the gateway rejected the last key.
export const isKeyWrong = () => !byId("key-wrong").hidden;

// Calls `changed` after each new key.
export function initKeyDialog(changed) {
  onSubmit("key-form", () => {
    key = byId("key").value.trim();
    refusal = null;
    delete document.body.dataset.access;
    byId("key").value = "";
    byId("key-wrong").hidden = true;
    byId("key-dialog").close("entered");
    changed();
  });
  // After "Cancel" the dialog does not reopen with the next request.
  byId("key-dialog").addEventListener("close", ({ target }) => (wasDismissed = target.returnValue !== "entered"));
  byId("key-button").addEventListener("click", showKeyDialog);
}
