// A chart of the last two minutes with a scale, times, the value at the pointer, and a text for screen readers.

import { formatTime } from "./format.js";
import { element } from "./page.js";

const SPAN_MS = 120_000;
// Values further apart than this are not connected.
const GAP_MS = 7_000;
const WIDTH = 120;
const HEIGHT = 32;
const SVG = "http://www.w3.org/2000/svg";

function svgElement(name, attributes) {
  const created = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  return created;
}

export class Chart {
  // Values with their times; a value is null when the gateway did not answer.
  #points = [];
  #format;
  #name;
  #figure;
  #number = element("div", { class: "value" }, "–");
  #svg = svgElement("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = svgElement("path", { class: "area" });
  #curve = svgElement("path", { class: "curve" });
  #cursor = svgElement("line", { class: "cursor", y1: 0, y2: HEIGHT });
  #top = element("span", { class: "top" });
  #bottom = element("span", { class: "bottom" });
  #from = element("span");
  #to = element("span");
  #hovered = element("div", { class: "hovered" });

  constructor(figure, format) {
    this.#format = format;
    this.#figure = figure;
    this.#name = figure.querySelector("figcaption").textContent;
    const ground = svgElement("line", { class: "ground", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 });
    this.#svg.append(ground, this.#area, this.#curve);
    this.#svg.setAttribute("aria-label", `${this.#name}: no values yet`);
    const plot = element("div", { class: "plot" }, this.#svg, this.#top, this.#bottom, this.#hovered);
    // Screen readers get the same values from the label of the curve.
    const times = element("div", { class: "times", "aria-hidden": "true" }, this.#from, this.#to);
    for (const part of [this.#top, this.#bottom, this.#hovered]) part.setAttribute("aria-hidden", "true");
    plot.addEventListener("pointermove", (event) => this.#hover(event));
    plot.addEventListener("pointerleave", () => this.#clearHover());
    figure.append(this.#number, plot, times);
  }

  // Adds a value, or null if it is unknown. `remark` is shown next to the number.
  add(value, remark = "") {
    const text = value === null ? "–" : this.#format(value);
    this.#figure.classList.remove("stale");
    this.#append(value);
    this.#number.replaceChildren(text);
    if (remark) this.#number.append(" ", element("small", {}, remark));
    this.#svg.setAttribute("aria-label", `${this.#name}: ${text} ${remark}${this.#range()}`);
  }

  // Marks the number as stale, as of `since`, because the gateway does not answer.
  markStale(since) {
    this.#append(null);
    if (this.#figure.classList.contains("stale") || since === null) return;
    this.#figure.classList.add("stale");
    const text = this.#number.firstChild?.textContent ?? "–";
    this.#number.replaceChildren(text, " ", element("small", {}, `stale, as of ${formatTime(since)}`));
    this.#svg.setAttribute("aria-label", `${this.#name}: stale, ${text} at ${formatTime(since)}${this.#range()}`);
  }

  #append(value) {
    const now = Date.now();
    this.#points.push({ at: now, value });
    this.#points = this.#points.filter(({ at }) => at > now - SPAN_MS);
    this.#draw(now);
  }

  #values() {
    return this.#points.filter(({ value }) => value !== null).map(({ value }) => value);
  }

  #range() {
    const values = this.#values();
    const [min, max] = [Math.min(...values), Math.max(...values)].map(this.#format);
    return values.length ? `, between ${min} and ${max} in the last two minutes` : "";
  }

  #draw(now) {
    const values = this.#values();
    const max = Math.max(1e-9, ...values);
    const start = now - SPAN_MS;
    let [curve, area, startX, last, before] = ["", "", null, 0, 0];
    const finish = () => {
      if (startX !== null) area += `L${last} ${HEIGHT}L${startX} ${HEIGHT}Z`;
      startX = null;
    };
    for (const point of this.#points) {
      if (point.value === null || point.at - before > GAP_MS) finish();
      before = point.at;
      if (point.value === null) continue;
      last = (((point.at - start) / SPAN_MS) * WIDTH).toFixed(1);
      const y = (HEIGHT - 1 - (point.value / max) * (HEIGHT - 3)).toFixed(1);
      Object.assign(point, { x: Number(last), y });
      // A single value is drawn as a dot.
      const piece = startX === null ? `M${last} ${y}h.01` : `L${last} ${y}`;
      if (startX === null) startX = last;
      curve += piece;
      area += piece;
    }
    finish();
    this.#curve.setAttribute("d", curve);
    this.#area.setAttribute("d", area);
    this.#top.textContent = values.length ? this.#format(max < 1e-6 ? 0 : max) : "";
    this.#bottom.textContent = values.length && max >= 1e-6 ? this.#format(0) : "";
    [this.#from.textContent, this.#to.textContent] = [formatTime(new Date(start)), formatTime(new Date(now))];
  }

  // Shows the value nearest to the pointer, with its time.
  #hover(event) {
    const { left, width } = this.#svg.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * WIDTH;
    const drawn = this.#points.filter(({ value }) => value !== null);
    if (drawn.length === 0) return this.#clearHover();
    const near = drawn.reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best));
    this.#cursor.setAttribute("x1", near.x);
    this.#cursor.setAttribute("x2", near.x);
    this.#svg.append(this.#cursor);
    this.#hovered.textContent = `${this.#format(near.value)} at ${formatTime(new Date(near.at))}`;
  }

  #clearHover() {
    this.#cursor.remove();
    this.#hovered.textContent = "";
  }
}
