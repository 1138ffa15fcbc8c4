// The rows of a table. A row is reused while its item is listed, so that a click or the focus is not lost.

import { byId, element } from "./page.js";

export class Table {
  #body;
  #region;
  #columns;
  #action;
  #rows = new Map();

  // `name`: the table's body `<name>` and its region `<name>-region`. A column is a function that returns the text for
  // an item, the class of its cells, and optionally a function for their title. `action`: the text of a button in each
  // row, its label, and what it does.
  constructor(name, columns, action = null) {
    [this.#body, this.#region] = [byId(name), byId(`${name}-region`)];
    [this.#columns, this.#action] = [columns, action];
  }

  // Shows entries: a key, an item, and for a list with marks the text of the mark and whether the item has gone.
  show(entries) {
    // The keyboard focus stays on the same item.
    const focused = document.activeElement?.closest("tr")?.dataset.key;
    const hadFocus = focused !== undefined && this.#body.contains(document.activeElement);
    this.#rows = new Map(entries.map((entry) => [entry.key, this.#row(entry)]));
    const rows = [...this.#rows.values()];
    const { children } = this.#body;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#body.replaceChildren(...rows);
    if (hadFocus) this.focus(focused);
  }

  clear() {
    this.show([]);
  }

  // Focuses the button of an item, or the table if it is no longer listed.
  focus(key) {
    (this.#rows.get(key)?.querySelector("button") ?? this.#region).focus();
  }

  #row({ key, item, mark, isGone = false }) {
    const row = this.#rows.get(key) ?? this.#newRow(key, item, mark !== undefined);
    const texts = this.#columns.map(([text]) => String(text(item)));
    if (mark !== undefined) texts.push(mark);
    texts.forEach((text, index) => {
      const cell = row.children[index];
      if (cell.textContent !== text) cell.textContent = text;
    });
    row.className = isGone ? "gone" : mark ? "new" : "";
    if (this.#action) {
      const button = row.querySelector("button");
      button.setAttribute("aria-label", this.#action.label(item));
      button.onclick = () => this.#action.run(item);
    }
    return row;
  }

  #newRow(key, item, hasMark) {
    const cells = this.#columns.map(([, kind = "", title]) => {
      return element("td", title ? { class: kind, title: title(item) } : { class: kind });
    });
    if (hasMark) cells.push(element("td", { class: "mark" }));
    if (this.#action) {
      const { text, kind = "" } = this.#action;
      cells.push(element("td", {}, element("button", { type: "button", class: `small ${kind}` }, text)));
    }
    return element("tr", { "data-key": key }, ...cells);
  }
}
