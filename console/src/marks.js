// Determines which items of a list have come and gone since the operator opened its page.

import { formatTime } from "./format.js";

// How long a change stays marked.
const MARKED_MS = 10_000;

export class Marks {
  // The items of the previous answer by key, or null before the first one, and the end of its page.
  #shown = null;
  #end = null;
  // The recent changes by key: their time, and the item if it has gone.
  #changes = new Map();

  // Drops all changes, because another page is opened.
  reset() {
    this.#shown = null;
    this.#changes.clear();
  }

  // Applies the items of a page by key, in the order of the keys. `end`: the key after which the next page begins, or
  // null. Returns the rows in the same order: the items, and for a short time those that have gone.
  update(items, end) {
    const keys = [...items.keys()];
    // An item beyond the end of a page has not come or gone, but moved between two pages.
    const isWithin = (key, bound) => bound === null || key <= bound;
    const at = Date.now();
    if (this.#shown !== null) {
      for (const key of keys) {
        if (!this.#shown.has(key) && isWithin(key, this.#end)) this.#changes.set(key, { at });
      }
      for (const [key, item] of this.#shown) {
        if (!items.has(key) && isWithin(key, end)) this.#changes.set(key, { at, gone: item });
      }
    }
    [this.#shown, this.#end] = [items, end];
    const entries = keys.map((key) => ({ key, item: items.get(key), mark: "" }));
    return this.#apply(entries, at);
  }

  #apply(entries, now) {
    const marked = new Map(entries.map((entry) => [entry.key, entry]));
    for (const [key, { at, gone }] of this.#changes) {
      const time = formatTime(new Date(at));
      if (now - at >= MARKED_MS) this.#changes.delete(key);
      else if (gone !== undefined) marked.set(key, { key, item: gone, isGone: true, mark: `gone at ${time}` });
      else if (marked.has(key)) marked.get(key).mark = `new at ${time}`;
    }
    return [...marked.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}
