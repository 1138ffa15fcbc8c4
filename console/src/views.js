// The views of the page. The address has the current one and what is open in it: `#channels/room:7`.

import { byId } from "./page.js";

const NAMES = ["overview", "channels", "users", "live", "publish", "inbox"];
// Views whose link leads back to what was open in them.
const KEPT = ["channels", "users"];
const listeners = [];
let current = "";
// The address that is shown.
let applied = null;

// Calls `listener` with the name of the view and what is open in it, or "", after each change.
export const onView = (listener) => listeners.push(listener);

export const currentView = () => current;

export const addressOf = (view, argument = "") => `#${view}${argument && `/${encodeURIComponent(argument)}`}`;

export function goTo(view, argument = "") {
  location.hash = addressOf(view, argument);
  applyAddress();
}

const linkOf = (view) => document.querySelector(`[data-link="${view}"]`);

// Goes to a view as its link does.
export function followLink(view) {
  location.hash = linkOf(view).hash;
  applyAddress();
}

// Whether an element belongs to the current view, or to none.
export const isInView = (part) => !part.closest("[data-view]")?.hidden;

function readAddress() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  try {
    return [name, decodeURIComponent(rest.join("/"))];
  } catch {
    return [name, ""];
  }
}

function applyAddress() {
  applied = location.hash;
  let [name, argument] = readAddress();
  if (!NAMES.includes(name)) {
    if (current) return;
    [name, argument] = [NAMES[0], ""];
  }
  const isFirst = current === "";
  const isOther = current !== name;
  current = name;
  if (isOther) show(name);
  if (KEPT.includes(name)) linkOf(name).href = addressOf(name, argument);
  // The keyboard continues in the view, not in the navigation.
  if (isOther && !isFirst) focusView();
  for (const listener of listeners) listener(name, argument);
}

function show(name) {
  for (const section of document.querySelectorAll("[data-view]")) section.hidden = section.dataset.view !== name;
  for (const link of document.querySelectorAll("[data-link]")) {
    if (link.dataset.link === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${name}-title`).textContent} · Gateway console`;
  scrollTo(0, 0);
}

const focusView = () => byId(`${current}-title`).focus({ preventScroll: true });

export function initViews() {
  addEventListener("hashchange", () => location.hash !== applied && applyAddress());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    focusView();
  });
  applyAddress();
}
