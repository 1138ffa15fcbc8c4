// Keyboard shortcuts. A single key is one only outside of fields and dialogs, and the operator can turn these off.

import { byId, element } from "./page.js";
import { currentView, followLink, goTo } from "./views.js";

// The field for searching in each view.
const SEARCH_FIELDS = {
  overview: "replicas-region", channels: "channel-name", users: "sessions-user", live: "frames-text",
  publish: "publish-channel", inbox: "inbox-region",
};

// The keys, their description, and what they do.
const SHORTCUTS = [
  ["1", "Overview", () => followLink("overview")],
  ["2", "Channels", () => followLink("channels")],
  ["3", "Users", () => followLink("users")],
  ["4", "Live", () => followLink("live")],
  ["5", "Publish", () => followLink("publish")],
  ["6", "Inbox", () => followLink("inbox")],
  ["/", "Search in this view", () => byId(SEARCH_FIELDS[currentView()]).focus()],
  ["n", "Write a message", () => {
    goTo("publish");
    byId("publish-message").focus();
  }],
  ["p", "Pause or resume the frames", () => byId("pause-frames").click()],
  ["?", "Show the shortcuts", () => byId("help-dialog").showModal()],
];
// Those that the page handles elsewhere.
const OTHERS = [["Ctrl Enter", "Publish, while the message has the focus"], ["Esc", "Close the dialog or the open channel"]];

const isTyping = ({ target }) => target.closest("input:not([type=checkbox]), textarea, select, dialog") !== null;

function handleKey(event) {
  const hasModifier = event.ctrlKey || event.altKey || event.metaKey;
  if (hasModifier || isTyping(event) || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && !byId("channel-region").hidden && currentView() === "channels") {
    byId("channel-close").click();
  }
  const [, , run] = SHORTCUTS.find(([key]) => key === event.key) ?? [];
  if (!run || !byId("shortcuts-on").checked) return;
  event.preventDefault();
  run();
}

export function initKeys() {
  const rows = [...SHORTCUTS, ...OTHERS].map(([keys, text]) => {
    const names = keys.split(" ").map((key) => element("kbd", {}, key));
    return element("div", {}, element("dt", {}, ...names), element("dd", {}, text));
  });
  byId("shortcuts").replaceChildren(...rows);
  byId("help-button").addEventListener("click", () => byId("help-dialog").showModal());
  document.addEventListener("keydown", handleKey);
}
