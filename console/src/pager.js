// The buttons to the next and the previous page of a list. The gateway returns the key at which the next page begins.

import { byId, element } from "./page.js";

const PAGE_SIZE = 100;

export class Pager {
  // The keys after which the pages up to the current one begin. The first page has none.
  #afters = [];
  #next = null;
  #buttons;
  #area;

  // `name`: the element `<name>-pages`. `what`: the items of the list. `changed` is called when another page is selected.
  // `texts`: those of the two buttons.
  constructor(name, what, changed, texts = ["Previous page", "Next page"]) {
    this.#area = byId(`${name}-pages`);
    this.#buttons = [
      this.#button(texts[0], what, () => this.#afters.pop(), changed),
      this.#button(texts[1], what, () => this.#afters.push(this.#next), changed),
    ];
    this.#area.replaceChildren(...this.#buttons);
    this.reset();
  }

  #button(text, what, move, changed) {
    const button = element("button", { type: "button", class: "quiet small", "aria-label": `${text} of ${what}` }, text);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      move();
      // Until the answer is there, no further page can be selected.
      this.#enable(false, false);
      changed();
    });
    return button;
  }

  // The parameters of a request for the current page.
  get query() {
    const after = this.#afters.at(-1);
    return after === undefined ? { limit: PAGE_SIZE } : { limit: PAGE_SIZE, after };
  }

  // The part of the status about the current page.
  get text() {
    return this.#area.hidden ? "" : `, page ${this.#afters.length + 1}`;
  }

  reset() {
    this.#afters = [];
    this.update(null);
  }

  // Sets the key after which the next page begins, or null on the last page.
  update(next = null) {
    this.#next = next;
    const hasPrevious = this.#afters.length > 0;
    this.#area.hidden = !hasPrevious && next === null;
    this.#enable(hasPrevious, next !== null);
  }

  // A disabled button keeps the focus.
  #enable(...isEnabled) {
    this.#buttons.forEach((button, index) => button.setAttribute("aria-disabled", String(!isEnabled[index])));
  }
}
