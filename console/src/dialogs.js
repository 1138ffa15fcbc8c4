// The dialogs of the page.

import { byId, onSubmit } from "./page.js";

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
