// ---- points in a plane: a canvas that is moved, zoomed and asked what lies under the pointer ------------------------

// One canvas instead of an element per point: thousands of points are redrawn within a frame, also without WebGL.
// Both axes have the same scale, so that a distance means the same in every direction.
class Plane {
  constructor(element, { onDraw, onHover, onClick }) {
    Object.assign(this, { element, onDraw, onHover, onClick });
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.tip = make("div", { class: "tip", hidden: true });
    const button = (text, label, act) => make("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    element.append(this.canvas, this.tip, make("div", { class: "zoom" }, button("+", "Zoom in", () => this.zoom(1.5)), button("−", "Zoom out", () => this.zoom(1 / 1.5)),
      button("⟲", "Show all", () => this.reset())));
    this.pointers = new Map();
    this.points = [];
    this.view = { x: 0, y: 0, scale: 1 };  // the data point in the middle, and pixels per unit
    new ResizeObserver(() => this.resize()).observe(element);
    this.listen();
  }

  // What can be hovered and clicked: [x, y, value] in data coordinates; later ones lie above.
  setPoints(points) { this.points = points; this.redraw(); }

  // The part of the plane that `reset` shows.
  setBounds(bounds) { this.bounds = bounds; this.reset(); }

  reset() {
    if (!this.bounds) return;
    const [low, high, bottom, top] = this.bounds;
    const room = 0.88;
    this.view = { x: (low + high) / 2, y: (bottom + top) / 2, scale: room * Math.min(this.width / (high - low || 1), this.height / (top - bottom || 1)) || 1 };
    this.moved = false;
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return;
    this.width = clientWidth;
    this.height = clientHeight;
    const ratio = Math.min(3, devicePixelRatio || 1);
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.moved) this.redraw(); else this.reset();
  }

  toScreen(x, y) {
    const { view } = this;
    return [this.width / 2 + (x - view.x) * view.scale, this.height / 2 - (y - view.y) * view.scale];
  }

  zoom(by, at = [this.width / 2, this.height / 2]) {
    const { view } = this;
    const away = [(at[0] - this.width / 2) / view.scale, (this.height / 2 - at[1]) / view.scale];
    view.scale *= by;
    view.x += away[0] * (1 - 1 / by);
    view.y += away[1] * (1 - 1 / by);
    this.moved = true;
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      if (!this.width) return;
      const context = this.canvas.getContext("2d");
      context.clearRect(0, 0, this.width, this.height);
      this.onDraw(context, (x, y) => this.toScreen(x, y));
    });
  }

  // The values of all points within `reach` pixels, nearest first.
  near(x, y, reach) {
    const found = [];
    for (const [px, py, value] of this.points) {
      const [sx, sy] = this.toScreen(px, py);
      const distance = Math.hypot(sx - x, sy - y);
      if (distance <= reach) found.push([distance, value]);
    }
    return found.sort((a, b) => a[0] - b[0]).map(([, value]) => value);
  }

  listen() {
    const { canvas, pointers } = this;
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, at(event));
      this.start = at(event);
      this.dragged = false;
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId), now = at(event);
      if (!before) { this.hover(now); return; }
      if (pointers.size === 2) this.pinch(event.pointerId, before, now);
      else if (event.pointerType === "mouse" && (this.dragged || Math.hypot(now[0] - this.start[0], now[1] - this.start[1]) > 4)) this.pan(before, now);
      pointers.set(event.pointerId, now);
    });
    canvas.addEventListener("pointerup", (event) => {
      const reach = event.pointerType === "mouse" ? 12 : 22;
      if (pointers.has(event.pointerId) && pointers.size === 1 && !this.dragged) this.click(at(event), reach);
      pointers.delete(event.pointerId);
    });
    for (const name of ["pointercancel", "pointerleave"]) canvas.addEventListener(name, (event) => { pointers.delete(event.pointerId); this.hideTip(); });
    canvas.addEventListener("dblclick", () => this.reset());
    // A plain wheel scrolls the page.
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300), at(event));
    }, { passive: false });
  }

  pan(before, now) {
    this.dragged = this.moved = true;
    this.view.x -= (now[0] - before[0]) / this.view.scale;
    this.view.y += (now[1] - before[1]) / this.view.scale;
    this.hideTip();
    this.redraw();
  }

  pinch(id, before, now) {
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    const by = Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1]));
    this.dragged = true;
    this.zoom(by, [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  }

  // Points can lie on each other: clicking again at a place goes through them.
  click(place, reach) {
    const all = this.near(...place, reach);
    if (!all.length) return;
    const onTop = this.near(...place, reach).filter((value) => this.same(value, all[0]));
    const next = onTop[(onTop.indexOf(this.last) + 1) % onTop.length];
    this.last = next;
    this.onClick(next);
  }

  same(one, other) {
    const place = (value) => this.points.find((point) => point[2] === value);
    const [a, b] = [place(one), place(other)];
    return Math.hypot(a[0] - b[0], a[1] - b[1]) * this.view.scale < 3;
  }

  hover(place) {
    const [value] = this.near(...place, 12);
    this.canvas.style.cursor = value === undefined ? "default" : "pointer";
    if (value === undefined) { this.hideTip(); return; }
    this.tip.replaceChildren(...this.onHover(value));
    this.tip.hidden = false;
    const right = place[0] > this.width / 2, low = place[1] > this.height / 2;
    this.tip.style.cssText = `${right ? "right" : "left"}:${(right ? this.width - place[0] : place[0]) + 14}px;${low ? "bottom" : "top"}:${(low ? this.height - place[1] : place[1]) + 10}px`;
  }

  hideTip() { this.tip.hidden = true; }
}
