// JSON whose large integers keep their digits. JSON.parse alone would round them.

import { byId, setStatus } from "./page.js";

// Browsers without JSON.rawJSON show rounded numbers.
function keepDigits(key, value, context) {
  const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value);
  return isRounded && JSON.rawJSON && context?.source ? JSON.rawJSON(context.source) : value;
}

export const parseJson = (text) => JSON.parse(text, keepDigits);

// Returns the JSON in a field, or null if it is invalid: then the field is marked, and the status shows why.
export function readJson(id, statusId) {
  const field = byId(id);
  try {
    parseJson(field.value);
  } catch (error) {
    field.setAttribute("aria-invalid", "true");
    setStatus(statusId, `The message is not valid JSON: ${error.message}`, "bad");
    return null;
  }
  field.removeAttribute("aria-invalid");
  return field.value;
}
