const LEAST_SIDE = 0.02; // of a box, in fractions of the picture, as is
const NUDGE = 0.02; // by a key

/* A photograph on which a box is drawn, moved and resized; Python hears of it when it is let go. */
class Box extends Picture {
  constructor(parent) {
    super(parent);
    Object.assign(this.canvas, { tabIndex: 0, role: "application" });
    this.canvas.classList.add("drawable");
    this.extent = element("output", { className: "extent" });
    this.root.append(element("figcaption", {}, element("span", { textContent: "Drag, or use the arrow keys" }), this.extent));
    this.listen(window, PHOTO_EVENT, ({ detail }) => detail === this.data.photo && this.adopt());
    this.listen(this.canvas, "pointerdown", (event) => this.start(event));
    this.listen(this.canvas, "pointermove", (event) => this.drag(event));
    this.listen(this.canvas, "pointerup", () => this.settle());
    this.listen(this.canvas, "pointercancel", () => this.forget());
    this.listen(this.canvas, "keydown", (event) => this.nudge(event));
    this.listen(this.canvas, "keyup", () => this.settle());
    this.listen(this.canvas, "blur", () => this.settle());
  }

  /* Python's box counts when the picture appears; later it is an echo of what the visitor has drawn. */
  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    if (this.data?.identifier !== data.identifier) this.box = this.settled = data.box;
    this.data = data;
    this.canvas.setAttribute("aria-label", data.alt);
    this.adopt();
  }

  paint(context, crop, ratio) {
    this.paintCrop(context, crop, ratio, 0.45);
    const { width, height } = context.canvas;
    const [left, top, right, bottom] = this.box;
    const line = new Path2D();
    line.rect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    strokeDouble(context, line, 2 * ratio);
    this.extent.textContent = `${Math.round(100 * (right - left))} × ${Math.round(100 * (bottom - top))}% of the picture`;
    this.canvas.dataset.box = this.box.join(",");
  }

  show(box) {
    this.box = box.map((side) => Number(side.toFixed(3)));
    invalidate(this);
  }

  at(event) {
    const limit = (value) => Math.min(Math.max(value, 0), 1);
    return [limit(event.offsetX / this.canvas.clientWidth), limit(event.offsetY / this.canvas.clientHeight)];
  }

  start(event) {
    if (event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.anchor = this.at(event);
  }

  drag(event) {
    if (!this.anchor) return;
    const [[x, y], [u, v]] = [this.anchor, this.at(event)];
    if (Math.min(Math.abs(u - x), Math.abs(v - y)) >= LEAST_SIDE) {
      this.show([Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)]);
    }
  }

  /* Arrow keys move the box; with Shift they move its right and lower side. */
  nudge(event) {
    if (event.key === "Escape") this.forget();
    const move = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] }[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [near, far] = [this.box.slice(0, 2), this.box.slice(2)];
    for (const axis of [0, 1]) {
      const least = event.shiftKey ? near[axis] + LEAST_SIDE - far[axis] : -near[axis];
      const by = Math.min(Math.max(move[axis], Math.min(least, 0)), 1 - far[axis]);
      if (!event.shiftKey) near[axis] += by;
      far[axis] += by;
    }
    this.show([...near, ...far]);
  }

  settle() {
    this.anchor = undefined;
    if (this.box.join() === this.settled.join()) return;
    this.settled = this.box;
    this.setStateValue("box", this.box);
  }

  forget() {
    this.anchor = undefined;
    this.show(this.settled);
  }
}
