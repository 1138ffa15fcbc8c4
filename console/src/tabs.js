// Tabs: one panel is shown. The arrow keys move between the tabs.

export class Tabs {
  #tabs;
  #changed;

  // `changed` is called with the id of the tab that is selected.
  constructor(list, changed) {
    this.#tabs = [...list.querySelectorAll('[role="tab"]')];
    this.#changed = changed;
    this.#tabs.forEach((tab, index) => {
      tab.addEventListener("click", () => this.select(index));
      tab.addEventListener("keydown", (event) => this.#move(event, index));
    });
  }

  select(selected) {
    this.#tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === selected));
      tab.tabIndex = index === selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = index !== selected;
    });
    this.#changed(this.#tabs[selected].id);
  }

  #move(event, index) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (index + step + this.#tabs.length) % this.#tabs.length;
    this.select(next);
    this.#tabs[next].focus();
  }
}
