// Lists whose entries open to show JSON. An entry is reused while its item is listed, so that it stays open.

import { jsonView } from "./json.js";
import { byId, element, setText } from "./page.js";

// An entry with cells in one line; when it opens, it shows `json()` and the facts below.
export function expandable(cells, json, facts = {}) {
  const summary = element("summary", {}, ...cells);
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const terms = Object.entries(facts).map(([term, text]) => {
      return element("div", {}, element("dt", {}, term), element("dd", { class: "code" }, text));
    });
    details.append(jsonView(json()), ...(terms.length ? [element("dl", { class: "row-facts" }, ...terms)] : []));
  });
  return details;
}

export class Rows {
  #list;
  #region;
  #describe;
  #rows = new Map();

  // `name`: the list `<name>` and its region `<name>-region`. `describe` returns for an item the texts of its cells,
  // each with its class, its JSON, and facts.
  constructor(name, describe) {
    [this.#list, this.#region] = [byId(name), byId(`${name}-region`)];
    this.#describe = describe;
  }

  // Shows items by key, in this order.
  show(items) {
    this.#rows = new Map(items.map(([key, item]) => [key, this.#row(key, item)]));
    const rows = [...this.#rows.values()];
    this.#region.classList.toggle("is-empty", rows.length === 0);
    const { children } = this.#list;
    if (children.length === rows.length && rows.every((row, index) => children[index] === row)) return;
    this.#list.replaceChildren(...rows);
  }

  #row(key, item) {
    const { cells, json, facts } = this.#describe(item);
    const row = this.#rows.get(key);
    if (row) {
      const shown = row.querySelectorAll("summary > span");
      cells.forEach(([text], index) => setText(shown[index], text));
      return row;
    }
    const parts = cells.map(([text, kind]) => element("span", { class: kind }, text));
    return element("li", { "data-key": key }, expandable(parts, () => json, facts));
  }
}
