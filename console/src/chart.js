// A small curve of the last two minutes, with its numbers in words for those who do not see it.

import { element } from "./page.js";

const POINTS = 60;
const WIDTH = 120;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Chart {
  #values = [];
  #format;
  #name;
  #number = element("div", { class: "value" }, "–");
  #svg = shape("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = shape("path", { class: "area" });
  #curve = shape("path", { class: "curve" });

  constructor(figure, format) {
    this.#format = format;
    this.#name = figure.querySelector("figcaption").textContent;
    const ground = shape("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.#svg.append(ground, this.#area, this.#curve);
    this.#svg.setAttribute("aria-label", `${this.#name}: nothing yet`);
    figure.append(this.#number, this.#svg);
  }

  // Adds a value; null where there is none. `text` stands in place of the number.
  add(value, text = value === null ? "–" : this.#format(value), remark = "") {
    this.#values.push(value);
    if (this.#values.length > POINTS) this.#values.shift();
    this.#number.replaceChildren(text);
    if (remark) this.#number.append(" ", element("small", {}, remark));
    const known = this.#values.filter((one) => one !== null);
    const [least, most] = [Math.min(...known), Math.max(...known)].map(this.#format);
    const range = known.length ? `, between ${least} and ${most} in the last two minutes` : "";
    this.#svg.setAttribute("aria-label", `${this.#name}: ${text} ${remark}${range}`);
    this.#draw(Math.max(1e-9, ...known));
  }

  #draw(most) {
    const step = WIDTH / (POINTS - 1);
    const start = POINTS - this.#values.length;
    let [curve, area, beginning] = ["", "", null];
    const finish = (x) => {
      if (beginning !== null) area += `L${x} ${HEIGHT}L${beginning} ${HEIGHT}Z`;
      beginning = null;
    };
    let last = 0;
    this.#values.forEach((value, index) => {
      if (value === null) return finish(last);
      last = ((start + index) * step).toFixed(1);
      const y = (HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1);
      // The first of a row is drawn as a dot, until there is a second one.
      const piece = beginning === null ? `M${last} ${y}h.01` : `L${last} ${y}`;
      if (beginning === null) beginning = last;
      curve += piece;
      area += piece;
    });
    finish(last);
    this.#curve.setAttribute("d", curve);
    this.#area.setAttribute("d", area);
  }
}
