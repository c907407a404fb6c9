// The gate's confidence at every step, with the threshold line. A canvas: thousands of steps cost one drawing.

const PLOT_HEIGHT = 64, PLOT_PAD = 6;

class ConfidencePlot {
  constructor(threshold, mode, onInspect) {
    Object.assign(this, { threshold, mode, points: [], selected: null, isStale: false });
    this.canvas = h("canvas", { height: PLOT_HEIGHT, role: "img" });
    this.tip = h("output", { class: "gac-plot-tip", hidden: true });
    this.root = h("figure", { class: "gac-plot" }, h("figcaption", { text: "Gate confidence" }), this.canvas, this.tip);
    this.canvas.addEventListener("click", (event) => this.points.length && onInspect(this.nearest(event)));
    this.canvas.addEventListener("pointermove", (event) => this.hover(event));
    this.canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    new ResizeObserver(() => this.redraw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  add(token) {
    this.points.push(token);
    this.redraw();
  }

  select(index) {
    this.selected = index;
    this.redraw();
  }

  redraw() {
    if (this.isStale) return;
    this.isStale = true;
    requestAnimationFrame(() => {
      this.isStale = false;
      this.draw();
    });
  }

  x(index) {
    // Few steps keep their distance instead of jumping about while the answer grows.
    const slots = Math.max(this.points.length, 64);
    return PLOT_PAD + ((index + 0.5) / slots) * (this.canvas.clientWidth - 2 * PLOT_PAD);
  }

  y(confidence) {
    return PLOT_PAD + (1 - Math.min(1, confidence)) * (PLOT_HEIGHT - 2 * PLOT_PAD);
  }

  nearest(event) {
    const slots = Math.max(this.points.length, 64);
    const share = (event.offsetX - PLOT_PAD) / (this.canvas.clientWidth - 2 * PLOT_PAD);
    return Math.max(0, Math.min(this.points.length - 1, Math.floor(share * slots)));
  }

  hover(event) {
    if (!this.points.length) return;
    const point = this.points[this.nearest(event)];
    this.tip.textContent = `token ${point.index + 1}: ${probability(point.confidence)}`;
    this.tip.style.left = `${Math.min(this.x(point.index), this.canvas.clientWidth - 120)}px`;
    this.tip.hidden = false;
  }

  draw() {
    const width = this.canvas.clientWidth, ratio = devicePixelRatio || 1;
    if (!width) return;
    if (this.canvas.width !== width * ratio) [this.canvas.width, this.canvas.height] = [width * ratio, PLOT_HEIGHT * ratio];
    const style = getComputedStyle(this.root), colour = (name) => style.getPropertyValue(name).trim();
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, PLOT_HEIGHT);
    this.drawLine(pen, colour("--line-strong"));
    this.drawThreshold(pen, width, colour("--ink-soft"));
    this.drawPoints(pen, colour);
    const below = this.points.filter((point) => point.confidence < this.threshold).length;
    const count = this.mode === "gate" ? `, ${below} below the threshold of ${this.threshold}` : "";
    this.canvas.setAttribute("aria-label", `Gate confidence at ${plural(this.points.length, "step")}${count}`);
  }

  drawLine(pen, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1.25;
    pen.beginPath();
    for (const point of this.points) pen.lineTo(this.x(point.index), this.y(point.confidence));
    pen.stroke();
  }

  drawThreshold(pen, width, colour) {
    if (this.mode !== "gate") return;
    const y = this.y(this.threshold);
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = 1;
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(PLOT_PAD, y);
    pen.lineTo(width - PLOT_PAD, y);
    pen.stroke();
    pen.setLineDash([]);
  }

  drawPoints(pen, colour) {
    const gate = colour("--gate-strong"), ink = colour("--ink");
    for (const point of this.points) {
      const isSelected = point.index === this.selected;
      if (!point.isGated && !isSelected) continue;
      pen.fillStyle = isSelected ? ink : gate;
      pen.beginPath();
      pen.arc(this.x(point.index), this.y(point.confidence), isSelected ? 4.5 : 2.75, 0, 2 * Math.PI);
      pen.fill();
    }
  }
}
