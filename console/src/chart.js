// A chart of the last two minutes, with a scale, times, the value at the pointer, and a text for screen readers.

import { clock, element } from "./page.js";

const SPAN_MS = 120_000;
// A longer time without a value is a gap in the curve.
const HOLE_MS = 7_000;
const WIDTH = 120;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Chart {
  // Values with their times; null if there is none.
  #points = [];
  #format;
  #name;
  #figure;
  #number = element("div", { class: "value" }, "–");
  #svg = shape("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = shape("path", { class: "area" });
  #curve = shape("path", { class: "curve" });
  #cursor = shape("line", { class: "cursor", y1: 0, y2: HEIGHT });
  #top = element("span", { class: "top" });
  #bottom = element("span", { class: "bottom" });
  #from = element("span");
  #to = element("span");
  #hovered = element("div", { class: "hovered" });

  constructor(figure, format) {
    this.#format = format;
    this.#figure = figure;
    this.#name = figure.querySelector("figcaption").textContent;
    const ground = shape("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.#svg.append(ground, this.#area, this.#curve);
    this.#svg.setAttribute("aria-label", `${this.#name}: nothing yet`);
    const plot = element("div", { class: "plot" }, this.#svg, this.#top, this.#bottom, this.#hovered);
    // The label of the curve has them as text.
    const times = element("div", { class: "times", "aria-hidden": "true" }, this.#from, this.#to);
    for (const part of [this.#top, this.#bottom, this.#hovered]) part.setAttribute("aria-hidden", "true");
    plot.addEventListener("pointermove", (event) => this.#hover(event));
    plot.addEventListener("pointerleave", () => this.#leave());
    figure.append(this.#number, plot, times);
  }

  // Adds a value; null if there is none. `remark` is shown next to the number.
  add(value, remark = "") {
    const text = value === null ? "–" : this.#format(value);
    this.#figure.classList.remove("stale");
    this.#put(value);
    this.#number.replaceChildren(text);
    if (remark) this.#number.append(" ", element("small", {}, remark));
    this.#svg.setAttribute("aria-label", `${this.#name}: ${text} ${remark}${this.#range()}`);
  }

  // The gateway does not answer: the number is from `since`.
  markStale(since) {
    this.#put(null);
    if (this.#figure.classList.contains("stale") || since === null) return;
    this.#figure.classList.add("stale");
    const text = this.#number.firstChild?.textContent ?? "–";
    this.#number.replaceChildren(text, " ", element("small", {}, `stale, from ${clock(since)}`));
    this.#svg.setAttribute("aria-label", `${this.#name}: stale, ${text} at ${clock(since)}${this.#range()}`);
  }

  #put(value) {
    const now = Date.now();
    this.#points.push({ at: now, value });
    this.#points = this.#points.filter(({ at }) => at > now - SPAN_MS);
    this.#draw(now);
  }

  #known() {
    return this.#points.filter(({ value }) => value !== null).map(({ value }) => value);
  }

  #range() {
    const known = this.#known();
    const [least, most] = [Math.min(...known), Math.max(...known)].map(this.#format);
    return known.length ? `, between ${least} and ${most} in the last two minutes` : "";
  }

  #draw(now) {
    const known = this.#known();
    const most = Math.max(1e-9, ...known);
    const start = now - SPAN_MS;
    let [curve, area, beginning, last, before] = ["", "", null, 0, 0];
    const finish = () => {
      if (beginning !== null) area += `L${last} ${HEIGHT}L${beginning} ${HEIGHT}Z`;
      beginning = null;
    };
    for (const point of this.#points) {
      if (point.value === null || point.at - before > HOLE_MS) finish();
      before = point.at;
      if (point.value === null) continue;
      last = (((point.at - start) / SPAN_MS) * WIDTH).toFixed(1);
      const y = (HEIGHT - 1 - (point.value / most) * (HEIGHT - 3)).toFixed(1);
      Object.assign(point, { x: Number(last), y });
      // The first of a row is drawn as a dot, until there is a second one.
      const piece = beginning === null ? `M${last} ${y}h.01` : `L${last} ${y}`;
      if (beginning === null) beginning = last;
      curve += piece;
      area += piece;
    }
    finish();
    this.#curve.setAttribute("d", curve);
    this.#area.setAttribute("d", area);
    this.#top.textContent = known.length ? this.#format(most < 1e-6 ? 0 : most) : "";
    this.#bottom.textContent = known.length && most >= 1e-6 ? this.#format(0) : "";
    [this.#from.textContent, this.#to.textContent] = [clock(new Date(start)), clock(new Date(now))];
  }

  // Shows the value nearest to the pointer, with its time.
  #hover(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDTH;
    const drawn = this.#points.filter(({ value }) => value !== null);
    if (drawn.length === 0) return this.#leave();
    const near = drawn.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best));
    this.#cursor.setAttribute("x1", near.x);
    this.#cursor.setAttribute("x2", near.x);
    this.#svg.append(this.#cursor);
    this.#hovered.textContent = `${this.#format(near.value)} at ${clock(new Date(near.at))}`;
  }

  #leave() {
    this.#cursor.remove();
    this.#hovered.textContent = "";
  }
}
