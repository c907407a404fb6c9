// The gate's confidence at every step, with the threshold line. A canvas: thousands of steps cost one drawing.

import { oncePerFrame } from "../page/browser.js";
import { h } from "../page/elements.js";
import { number, percent, probability } from "../page/numbers.js";
import { rich, t } from "../page/words.js";

const PLOT_HEIGHT = 92, PLOT_TOP = 8, PLOT_BOTTOM = 18, PLOT_LEFT = 38, PLOT_RIGHT = 8; // px
const MIN_SLOTS = 64; // few steps keep their distance instead of jumping about while the answer grows
const TICK_STEPS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const MIN_TICK_PX = 44;

export class ConfidencePlot {
  constructor(threshold, mode, onInspect) {
    Object.assign(this, { threshold, mode, points: [], selected: null, hovered: null });
    this.redraw = oncePerFrame(() => this.draw());
    this.canvas = h("canvas", { height: PLOT_HEIGHT, role: "img", "aria-label": t("plot.told", { count: 0 }) });
    this.tip = h("output", { class: "gac-plot-tip", hidden: true });
    const asks = mode === "gate" ? h("span", { class: "gac-plot-asks", text: t("plot.asks-below", { threshold: percent(threshold) }) }) : null; // beside the curve, and not over it
    this.root = h("figure", { class: "gac-plot" }, h("figcaption", {}, h("span", {}, ...rich("plot.caption")), asks ?? ""), this.canvas, this.tip);
    this.canvas.addEventListener("click", (event) => this.points.length && onInspect(this.nearest(event)));
    this.canvas.addEventListener("pointermove", (event) => this.hover(event));
    this.canvas.addEventListener("pointerleave", () => this.hover(null));
    this.shades = new MutationObserver(() => this.redraw()); // light or dark
    new ResizeObserver(() => this.resized()).observe(this.canvas);
  }

  /** The canvas has another size; none once it is taken from the page, which must not keep the plot alive then. */
  resized() {
    if (this.canvas.isConnected) this.shades.observe(document.body, { attributeFilter: ["class"] });
    else this.shades.disconnect();
    this.redraw();
  }

  add(token) {
    this.points.push(token);
    this.redraw();
  }

  select(index) {
    this.selected = index;
    this.redraw();
  }

  get slots() {
    return Math.max(this.points.length, MIN_SLOTS);
  }

  get width() {
    return this.canvas.clientWidth - PLOT_LEFT - PLOT_RIGHT;
  }

  x(index) {
    return PLOT_LEFT + ((index + 0.5) / this.slots) * this.width;
  }

  y(confidence) {
    return PLOT_TOP + (1 - Math.min(1, confidence)) * (PLOT_HEIGHT - PLOT_TOP - PLOT_BOTTOM);
  }

  nearest(event) {
    const share = (event.offsetX - PLOT_LEFT) / this.width;
    return Math.max(0, Math.min(this.points.length - 1, Math.floor(share * this.slots)));
  }

  hover(event) {
    this.hovered = event && this.points.length ? this.nearest(event) : null;
    this.tip.hidden = this.hovered === null;
    this.redraw();
    if (this.hovered === null) return;
    const point = this.points[this.hovered], text = point.isEnd ? t("end") : point.text.trim();
    this.tip.textContent = `${point.index + 1}${text ? ` ${t("quoted", { text: text.slice(0, 20) })}` : ""}: ${t("plot.confidence", { confidence: probability(point.confidence) })}${point.isGated ? `, ${t("plot.others-asked")}` : ""}`;
    this.tip.style.left = `${Math.max(0, Math.min(this.x(point.index) + 8, this.canvas.clientWidth - this.tip.offsetWidth))}px`;
  }

  draw() {
    const width = this.canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (!width) return;
    if (this.canvas.width !== Math.round(width * ratio)) [this.canvas.width, this.canvas.height] = [Math.round(width * ratio), PLOT_HEIGHT * ratio];
    const style = getComputedStyle(this.root), colour = (name) => style.getPropertyValue(name).trim();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, PLOT_HEIGHT);
    pen.font = `11px ${style.fontFamily}`;
    this.drawAxes(pen, width, colour);
    this.drawLine(pen, colour("--line-strong"));
    this.drawThreshold(pen, width, colour);
    this.drawPoints(pen, colour);
    this.canvas.setAttribute("aria-label", t("plot.told", { count: this.points.length }));
  }

  drawAxes(pen, width, colour) {
    [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [colour("--line"), colour("--ink-soft"), 1];
    [pen.textAlign, pen.textBaseline] = ["right", "middle"];
    for (const share of [0, 0.5, 1]) {
      line(pen, PLOT_LEFT, this.y(share), width - PLOT_RIGHT, this.y(share));
      pen.fillText(percent(share), PLOT_LEFT - 5, this.y(share));
    }
    [pen.textAlign, pen.textBaseline] = ["center", "top"];
    const step = TICK_STEPS.find((size) => (size / this.slots) * this.width >= MIN_TICK_PX) ?? TICK_STEPS.at(-1);
    for (let token = step; token <= this.slots; token += step) {
      line(pen, this.x(token - 1), this.y(0), this.x(token - 1), this.y(0) + 3);
      if (this.x(token - 1) < width - PLOT_RIGHT - 8) pen.fillText(number(token), this.x(token - 1), this.y(0) + 5);
    }
  }

  drawLine(pen, colour) {
    [pen.strokeStyle, pen.lineWidth] = [colour, 1.25];
    pen.beginPath();
    for (const point of this.points) pen.lineTo(this.x(point.index), this.y(point.confidence));
    pen.stroke();
  }

  drawThreshold(pen, width, colour) {
    if (this.mode !== "gate") return;
    const y = this.y(this.threshold);
    [pen.strokeStyle, pen.lineWidth] = [colour("--ink-soft"), 1];
    pen.setLineDash([4, 4]);
    line(pen, PLOT_LEFT, y, width - PLOT_RIGHT, y);
    pen.setLineDash([]);
  }

  drawPoints(pen, colour) {
    const gate = colour("--gate-strong"), ink = colour("--ink");
    for (const point of this.points) {
      const isChosen = point.index === this.selected || point.index === this.hovered;
      if (!point.isGated && !isChosen) continue;
      pen.fillStyle = isChosen ? ink : gate;
      pen.beginPath();
      pen.arc(this.x(point.index), this.y(point.confidence), isChosen ? 4.5 : 2.75, 0, 2 * Math.PI);
      pen.fill();
    }
  }
}

function line(pen, fromX, fromY, toX, toY) {
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}
