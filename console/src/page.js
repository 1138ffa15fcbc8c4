// Access to the page's elements. Texts are always set as text, never as HTML, because messages are untrusted.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  created.append(...children);
  return created;
}

// Shows a notice at the top of the page; an empty text hides it. An unchanged text is not set again, because screen
// readers would repeat it.
export function showNotice(text, kind = "") {
  const notice = byId("notice");
  if (notice.textContent !== text) notice.textContent = text;
  notice.hidden = text === "";
  notice.className = `notice ${kind}`;
}

// Shows a text in one element of the page; `kind` is "bad" for an error, "warn", or nothing.
export function setStatus(id, text, kind = "") {
  const target = byId(id);
  if (target.textContent !== text) target.textContent = text;
  target.classList.remove("bad", "warn");
  if (kind) target.classList.add(kind);
}

// Formats a time of day.
export const formatTime = (date, hasMilliseconds = false) =>
  date.toTimeString().slice(0, 8) + (hasMilliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

// Handles a form without submitting it, which the content security policy forbids. `handle` gets the event.
export function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle(event);
  });
}

export const formatDuration = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

export const formatBytes = (count) => (count < 10240 ? `${count} B` : `${(count / 1024).toFixed(1)} KiB`);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

let questions = 0;

// Asks for confirmation of an action, such as "Disconnect". Resolves to the entered reason if the user confirms, and
// otherwise to null.
export function confirmAction(action, text, hasReason) {
  const dialog = byId("confirm-dialog");
  const number = ++questions;
  byId("confirm-title").textContent = `${action}?`;
  byId("confirm-button").textContent = action;
  byId("confirm-text").textContent = text;
  byId("confirm-reason-label").hidden = !hasReason;
  byId("confirm-reason").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const onClose = () => {
      // The close event arrives later than the close itself. By then the dialog may show the next question.
      if (dialog.open && number === questions) return;
      dialog.removeEventListener("close", onClose);
      const isConfirmed = number === questions && dialog.returnValue === "yes";
      resolve(isConfirmed ? byId("confirm-reason").value.trim() : null);
    };
    dialog.addEventListener("close", onClose);
  });
}

export function initDialogs() {
  onSubmit("confirm-form", () => byId("confirm-dialog").close("yes"));
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close(""));
  }
}
