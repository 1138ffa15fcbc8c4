// The rows of a table. A row is reused while its item is listed, so that a click or the focus is not lost.

import { byId, element, setText } from "./page.js";

export class Table {
  #body;
  #region;
  #columns;
  #labels;
  #action;
  #rows = new Map();

  // `name`: the table's body `<name>` and its region `<name>-region`. A column has a function `text` of an item, and
  // optionally `kind`, the class of its cells or a function for it, and functions for their `title` and their `link`.
  // `action`: the text of a button in each row, its label, and what it does.
  constructor(name, columns, action = null) {
    [this.#body, this.#region] = [byId(name), byId(`${name}-region`)];
    [this.#columns, this.#action] = [columns, action];
    // A narrow screen shows each cell below its label.
    this.#labels = [...this.#body.closest("table").querySelectorAll("th")].map((head) => (head.firstElementChild ? "" : head.textContent));
  }

  // Shows entries: a key, an item, and for a list with marks the text of the mark and whether the item has gone.
  show(entries) {
    // The keyboard focus stays on the same item.
    const focused = document.activeElement?.closest("tr")?.dataset.key;
    const hadFocus = focused !== undefined && this.#body.contains(document.activeElement);
    this.#rows = new Map(entries.map((entry) => [entry.key, this.#row(entry)]));
    const rows = [...this.#rows.values()];
    this.#region.classList.toggle("is-empty", rows.length === 0);
    const { children } = this.#body;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#body.replaceChildren(...rows);
    if (hadFocus) this.focus(focused);
  }

  clear() {
    this.show([]);
  }

  // Marks the row of an item as the open one.
  setCurrent(current) {
    for (const [key, row] of this.#rows) row.classList.toggle("current", key === current);
  }

  // Focuses the button of an item, or the table if it is no longer listed.
  focus(key) {
    (this.#rows.get(key)?.querySelector("button") ?? this.#region).focus();
  }

  #row({ key, item, mark, isGone = false }) {
    const row = this.#rows.get(key) ?? this.#newRow(key, item, mark !== undefined);
    this.#columns.forEach(({ text, kind }, index) => {
      const cell = row.children[index];
      setText(cell.firstElementChild ?? cell, String(text(item)));
      if (typeof kind === "function") cell.className = kind(item);
    });
    if (mark !== undefined) setText(row.children[this.#columns.length], mark);
    row.classList.toggle("gone", isGone);
    row.classList.toggle("new", Boolean(mark) && !isGone);
    if (this.#action) {
      const button = row.querySelector("button");
      button.setAttribute("aria-label", this.#action.label(item));
      button.onclick = () => this.#action.run(item);
    }
    return row;
  }

  #newRow(key, item, hasMark) {
    const cells = this.#columns.map(({ kind = "", title, link }) => {
      const cell = element("td", { class: typeof kind === "function" ? kind(item) : kind });
      if (title) cell.title = title(item);
      const href = link?.(item);
      if (href) cell.append(element("a", { href }));
      return cell;
    });
    if (hasMark) cells.push(element("td", { class: "mark" }));
    if (this.#action) {
      const { text, kind = "" } = this.#action;
      cells.push(element("td", { class: "action" }, element("button", { type: "button", class: `small ${kind}` }, text)));
    }
    cells.forEach((cell, index) => (cell.dataset.label = this.#labels[index] ?? ""));
    return element("tr", { "data-key": key }, ...cells);
  }
}
