/* Draws photographs, maps and the look bar. Each is an instance of its own; the store below is what they share. */

const LOOK_EVENT = "cam-explorer:look";
const PHOTO_EVENT = "cam-explorer:photo";
const FRAME_BUDGET_MS = 12;
const MAX_PIXEL_RATIO = 2;
const SCALED_COPIES = 4;

const store = (window[Symbol.for("cam-explorer")] ??= {
  look: null, // {view, colour_map, opacity, cut}
  tables: {}, // colour map -> Uint32Array(256), the bytes of RGBA
  photos: new Map(), // identifier -> {bitmap, width, height, copies}
  stale: new Set(), // pictures to be drawn again
  frame: 0,
});

/* Draw stale pictures within a budget per frame. A set keeps its order, so no picture starves during a drag. */
function drawStale() {
  const end = performance.now() + FRAME_BUDGET_MS;
  for (const picture of store.stale) {
    store.stale.delete(picture);
    picture.draw();
    if (performance.now() > end) break;
  }
  store.frame = store.stale.size ? requestAnimationFrame(drawStale) : 0;
}

function invalidate(picture) {
  store.stale.add(picture);
  store.frame ||= requestAnimationFrame(drawStale);
}

function setLook(look) {
  store.look = look;
  window.dispatchEvent(new CustomEvent(LOOK_EVENT, { detail: look }));
}

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function layer(width, height) {
  const canvas = element("canvas", { width, height });
  return { canvas, context: canvas.getContext("2d") };
}

/* Draw a width x height image whose pixel i has the colour of(i), as the bytes of RGBA in one integer. */
function raster(width, height, of) {
  const { canvas, context } = layer(width, height);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = of(i);
  context.putImageData(image, 0, 0);
  return canvas;
}

const rgba = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/* The photograph at the size of a canvas; maps of one size share the copy. */
function scaled(photo, width, height) {
  const size = `${width}x${height}`;
  if (!photo.copies.has(size)) {
    const { canvas, context } = layer(width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(photo.bitmap, 0, 0, width, height);
    if (photo.copies.size >= SCALED_COPIES) photo.copies.delete(photo.copies.keys().next().value);
    photo.copies.set(size, canvas);
  }
  return photo.copies.get(size);
}

/* The threshold (0..256) under which the number of values is nearest to the fraction of the area, and that number. */
function threshold(values, fraction) {
  const histogram = new Uint32Array(256);
  for (const value of values) histogram[value]++;
  const wanted = Math.floor(values.length * fraction);
  let best = { level: 0, removed: 0 };
  for (let level = 0, removed = 0; level < 256; ) {
    removed += histogram[level++];
    if (Math.abs(removed - wanted) < Math.abs(best.removed - wanted)) best = { level, removed };
  }
  return best;
}

/* Marching squares: which edges (top, right, bottom, left) a line joins, by corners kept (bits: tl, tr, br, bl). */
const JOINS = [
  [], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2],
  [2, 3], [2, 0], [0, 1, 2, 3], [2, 1], [1, 3], [1, 0], [0, 3], [],
];

/* The line between values under the level and the others, in pixels of the map; pixel centres are at +0.5. */
function contour(values, width, height, level) {
  const path = new Path2D();
  const line = level - 0.5;
  for (let y = 0; y < height - 1; y++) {
    for (let x = 0; x < width - 1; x++) {
      const i = y * width + x;
      const a = values[i], b = values[i + 1], c = values[i + width + 1], d = values[i + width];
      const joins = JOINS[(a >= level) | ((b >= level) << 1) | ((c >= level) << 2) | ((d >= level) << 3)];
      for (let j = 0; j < joins.length; j++) {
        let px = x + 0.5, py = y + 0.5;
        if (joins[j] === 0) px += (line - a) / (b - a);
        else if (joins[j] === 1) { px += 1; py += (line - b) / (c - b); }
        else if (joins[j] === 2) { px += (line - d) / (c - d); py += 1; }
        else py += (line - a) / (d - a);
        if (j % 2) path.lineTo(px, py);
        else path.moveTo(px, py);
      }
    }
  }
  return path;
}

/* A line that shows on any picture: light upon dark. */
function strokeDouble(context, path, width) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "rgba(0, 0, 0, 0.65)";
  context.lineWidth = 2 * width;
  context.stroke(path);
  context.strokeStyle = "rgba(255, 255, 255, 0.95)";
  context.lineWidth = width;
  context.stroke(path);
}

/* A canvas in a frame that has the picture's shape before there is anything to draw. */
class Picture {
  constructor(parent) {
    this.canvas = element("canvas", { role: "img" });
    this.frame = element("div", { className: "frame" }, this.canvas);
    this.root = element("figure", {}, this.frame);
    this.drawn = 0;
    this.abort = new AbortController();
    this.resize = new ResizeObserver(() => invalidate(this));
    this.resize.observe(this.frame);
    parent.append(this.root);
  }

  listen(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.abort.signal });
  }

  shape(aspect) {
    this.root.style.setProperty("--aspect", aspect);
  }

  destroy() {
    this.abort.abort();
    this.resize.disconnect();
    store.stale.delete(this);
    this.root.remove();
  }

  draw() {
    const { canvas, photo } = this;
    const ratio = Math.min(window.devicePixelRatio || 1, MAX_PIXEL_RATIO);
    const width = Math.round(this.frame.clientWidth * ratio);
    const height = Math.round(this.frame.clientHeight * ratio);
    if (!photo || !width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const [left, top, right, bottom] = this.data.crop;
    const x = Math.round(left * width), y = Math.round(top * height);
    const crop = [x, y, Math.round(right * width) - x, Math.round(bottom * height) - y];
    context.drawImage(scaled(photo, width, height), 0, 0);
    this.paint(context, crop, ratio);
    canvas.dataset.drawn = ++this.drawn;
  }

  /* Darken what the model does not see, and outline what it sees. */
  paintCrop(context, [x, y, width, height], ratio, shade) {
    const { width: w, height: h } = context.canvas;
    context.fillStyle = `rgba(0, 0, 0, ${shade})`;
    const outside = new Path2D();
    outside.rect(0, 0, w, h);
    outside.rect(x, y, width, height);
    context.fill(outside, "evenodd");
    const l = Math.max(x, 0), t = Math.max(y, 0), r = Math.min(x + width, w), b = Math.min(y + height, h);
    if (r - l >= w - 1 && b - t >= h - 1) return;
    context.strokeStyle = "rgba(255, 255, 255, 0.65)";
    context.lineWidth = ratio;
    context.strokeRect(l + ratio / 2, t + ratio / 2, r - l - ratio, b - t - ratio);
  }
}

class Photo extends Picture {
  update(data) {
    if (this.data?.identifier !== data.identifier) this.withdraw();
    if (this.data?.jpeg !== data.jpeg || !this.photo) this.publish(data);
    this.data = data;
    this.shape(data.width / data.height);
    this.canvas.setAttribute("aria-label", data.alt);
    this.canvas.dataset.photo = data.identifier;
    invalidate(this);
  }

  async publish(data) {
    const { identifier, jpeg, width, height } = data;
    const bitmap = await createImageBitmap(new Blob([decode(jpeg)], { type: "image/jpeg" }));
    if (this.abort.signal.aborted || this.data !== data) return;
    this.photo = { bitmap, width, height, copies: new Map() };
    store.photos.set(identifier, this.photo);
    invalidate(this);
    window.dispatchEvent(new CustomEvent(PHOTO_EVENT, { detail: identifier }));
  }

  withdraw() {
    if (this.photo && store.photos.get(this.data.identifier) === this.photo) {
      store.photos.delete(this.data.identifier);
    }
    this.photo = undefined;
  }

  paint(context, crop, ratio) {
    this.paintCrop(context, crop, ratio, 0.45);
  }

  destroy() {
    this.withdraw();
    super.destroy();
  }
}

class MapCell extends Picture {
  constructor(parent) {
    super(parent);
    this.canvas.tabIndex = 0;
    this.marker = element("div", { className: "marker", hidden: true });
    this.readout = element("output", { className: "readout", hidden: true });
    this.frame.append(this.marker, this.readout);
    this.bar = element("canvas", { width: 256, height: 1 });
    this.tick = element("i");
    this.scale = element("span", { className: "scale", "aria-hidden": "true" },
      "0", element("span", { className: "bar" }, this.bar, this.tick), "1");
    this.removed = element("span", { className: "removed" });
    this.root.append(element("figcaption", {}, this.scale, this.removed));
    this.listen(window, LOOK_EVENT, () => invalidate(this));
    this.listen(window, PHOTO_EVENT, ({ detail }) => detail === this.data.photo && this.adopt());
    for (const type of ["pointermove", "pointerdown"]) this.listen(this.canvas, type, (event) => this.point(event));
    this.listen(this.canvas, "pointerleave", (event) => event.pointerType === "mouse" && this.probe(null));
    this.listen(this.canvas, "focus", () => this.canvas.matches(":focus-visible") && this.probe(this.peak()));
    this.listen(this.canvas, "blur", () => this.probe(null));
    this.listen(this.canvas, "keydown", (event) => this.step(event));
  }

  update(data) {
    const known = this.data ?? {};
    if (known.values !== data.values) this.values = decode(data.values);
    if (known.photo !== data.photo) this.photo = undefined;
    this.data = data;
    this.heat = this.cut = this.shade = undefined;
    this.canvas.setAttribute("aria-label", data.alt);
    this.canvas.dataset.cell = data.identifier;
    this.root.classList.toggle("dimmed", data.dimmed);
    this.root.setAttribute("aria-busy", data.dimmed);
    const [left, top, right, bottom] = data.crop;
    if (!this.photo) this.shape((data.width * (bottom - top)) / (data.height * (right - left)));
    this.adopt();
  }

  adopt() {
    this.photo = store.photos.get(this.data.photo) ?? this.photo;
    if (this.photo) this.shape(this.photo.width / this.photo.height);
    invalidate(this);
  }

  /* Bring what is derived from the map in line with the look; each part only when its own input has changed. */
  prepare({ view, colour_map, cut }) {
    const { values, data } = this;
    const { width, height, fill } = data;
    if (this.heat?.name !== colour_map) {
      const table = store.tables[colour_map];
      this.heat = { name: colour_map, canvas: raster(width, height, (i) => table[values[i]]) };
      this.bar.getContext("2d").drawImage(raster(256, 1, (i) => table[i]), 0, 0);
    }
    const fraction = cut === null || data.recommended === null ? (data.recommended ?? 0) : cut / 100;
    if (this.cut?.fraction !== fraction) {
      const { level, removed } = threshold(values, fraction);
      this.cut = { fraction, level, removed: removed / values.length };
      this.cut.path = contour(values, width, height, level);
      this.shade = undefined;
    }
    if ((view === "cut" || view === "outline") && this.shade?.view !== view) {
      const { level } = this.cut;
      const dark = rgba(0, 0, 0, 150);
      const filled = Uint32Array.from({ length: 256 }, (_, v) => rgba(...fill, v < level ? 255 : 255 - v));
      const of = view === "cut" ? (i) => filled[values[i]] : (i) => (values[i] < level ? dark : 0);
      this.shade = { view, canvas: raster(width, height, of) };
    }
  }

  paint(context, crop, ratio) {
    const look = store.look && { ...store.look, view: this.data.view ?? store.look.view };
    if (!look) return this.paintCrop(context, crop, ratio, 0.45);
    this.prepare(look);
    const { view, colour_map, opacity, cut } = look;
    context.imageSmoothingQuality = "medium";
    if (view === "overlay" || view === "heat") {
      context.globalAlpha = view === "heat" ? 1 : opacity / 100;
      context.drawImage(this.heat.canvas, ...crop);
      context.globalAlpha = 1;
    } else {
      context.drawImage(this.shade.canvas, ...crop);
    }
    if (view !== "cut") {
      const [x, y, width, height] = crop;
      const line = new Path2D();
      line.addPath(this.cut.path, new DOMMatrix([width / this.data.width, 0, 0, height / this.data.height, x, y]));
      strokeDouble(context, line, (view === "outline" ? 1.75 : 1) * ratio);
    }
    this.paintCrop(context, crop, ratio, view === "cut" ? 0.8 : 0.45);
    this.scale.classList.toggle("unused", view === "cut" || view === "outline");
    this.tick.style.left = `${Math.min(this.cut.level / 2.55, 100)}%`;
    const { recommended } = this.data;
    this.removed.textContent = recommended === null ? "" : `${Math.round(100 * this.cut.removed)} % removed`;
    this.tick.hidden = recommended === null;
    this.canvas.dataset.look = [view, colour_map, opacity, cut ?? "recommended"].join("/");
    this.canvas.dataset.level = this.cut.level;
    this.canvas.dataset.removed = this.cut.removed.toFixed(4);
    this.probe(this.at);
  }

  /* Show the value of a map pixel [column, row], or nothing. */
  probe(at) {
    this.at = at;
    this.marker.hidden = this.readout.hidden = !at || !this.cut;
    if (this.marker.hidden) return;
    const { width, height, crop } = this.data;
    const value = this.values[at[1] * width + at[0]];
    const left = crop[0] + ((at[0] + 0.5) / width) * (crop[2] - crop[0]);
    const top = crop[1] + ((at[1] + 0.5) / height) * (crop[3] - crop[1]);
    for (const node of [this.marker, this.readout]) Object.assign(node.style, { left: `${100 * left}%`, top: `${100 * top}%` });
    this.readout.classList.toggle("before", left > 0.5);
    this.readout.classList.toggle("above", top > 0.5);
    const fate = this.data.recommended === null ? "" : value < this.cut.level ? " removed" : " kept";
    this.readout.textContent = `${(value / 255).toFixed(2)}${fate}`;
  }

  point(event) {
    const { width, height, crop } = this.data;
    const across = (event.offsetX / this.canvas.clientWidth - crop[0]) / (crop[2] - crop[0]);
    const down = (event.offsetY / this.canvas.clientHeight - crop[1]) / (crop[3] - crop[1]);
    const inside = across >= 0 && across < 1 && down >= 0 && down < 1;
    this.probe(inside ? [Math.floor(across * width), Math.floor(down * height)] : null);
  }

  peak() {
    const index = this.values.indexOf(this.values.reduce((most, value) => Math.max(most, value)));
    return [index % this.data.width, Math.floor(index / this.data.width)];
  }

  step(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") this.probe(null);
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const from = this.at ?? this.peak();
    const by = event.shiftKey ? 10 : 1;
    const limits = [this.data.width - 1, this.data.height - 1];
    this.probe(from.map((place, axis) => Math.min(Math.max(place + by * move[axis], 0), limits[axis])));
  }
}

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

  adopt() {
    this.photo = store.photos.get(this.data.photo) ?? this.photo;
    if (this.photo) this.shape(this.photo.width / this.photo.height);
    invalidate(this);
  }

  paint(context, crop, ratio) {
    this.paintCrop(context, crop, ratio, 0.45);
    const { width, height } = context.canvas;
    const [left, top, right, bottom] = this.box;
    const line = new Path2D();
    line.rect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    strokeDouble(context, line, 2 * ratio);
    this.extent.textContent = `${Math.round(100 * (right - left))} × ${Math.round(100 * (bottom - top))} % of the picture`;
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

class LookBar {
  constructor(parent) {
    this.root = element("form", { className: "look" });
    this.root.addEventListener("submit", (event) => event.preventDefault());
    this.root.addEventListener("input", ({ target }) => {
      if (target === this.cut) this.recommended.checked = false;
      this.show();
    });
    this.root.addEventListener("change", () => this.settle());
    parent.append(this.root);
  }

  /* Python's look counts when the bar appears; later it is an echo, perhaps late, of what the user has set. */
  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    if (this.key === data.key) return;
    this.key = data.key;
    for (const [name, text] of Object.entries(data.tables)) {
      const bytes = decode(text);
      store.tables[name] = Uint32Array.from({ length: 256 }, (_, i) => rgba(...bytes.subarray(3 * i, 3 * i + 3), 255));
    }
    this.build(data);
    this.show();
    this.settled = JSON.stringify(store.look);
  }

  build({ look, views, tables }) {
    const range = (value) => element("input", { type: "range", min: 0, max: 100, step: 1, value });
    const slider = (name, input, output, title) =>
      element("label", { className: "field slider", title }, element("span", { className: "name" }, name, output), input);
    this.views = Object.entries(views).map(([value, name]) => {
      const radio = element("input", { type: "radio", name: "view", value, checked: value === look.view });
      return { radio, label: element("label", {}, radio, element("span", { textContent: name })) };
    });
    this.colours = element("select", {}, ...Object.keys(tables).map((value) =>
      element("option", { value, textContent: value[0].toUpperCase() + value.slice(1), selected: value === look.colour_map })));
    this.opacity = range(look.opacity);
    this.opacityText = element("span", { "aria-hidden": "true" });
    this.cut = range(look.cut ?? 80);
    this.cutText = element("span", { "aria-hidden": "true" });
    this.recommended = element("input", { type: "checkbox", checked: look.cut === null });
    this.root.replaceChildren(
      element("fieldset", { className: "field", title: "How each map is shown on its photograph" },
        element("legend", { className: "name", textContent: "View" }),
        element("div", { className: "segments" }, ...this.views.map(({ label }) => label))),
      element("label", { className: "field", title: "The colours that stand for the values 0 to 1" },
        element("span", { className: "name", textContent: "Colour map" }), this.colours),
      slider("Opacity", this.opacity, this.opacityText, "How strongly the colours cover the photograph in the overlay"),
      element("div", { className: "cut", role: "group", "aria-label": "Cut" },
        slider("Area removed", this.cut, this.cutText, "The share of the crop that the cut removes, lowest values first"),
        element("label", { className: "check", title: "Cut each map where it is recommended for that map" },
          this.recommended, "Recommended for each map")));
  }

  show() {
    const view = this.views.find(({ radio }) => radio.checked).radio.value;
    const cut = this.recommended.checked ? null : Number(this.cut.value);
    this.opacityText.textContent = `${this.opacity.value} %`;
    this.cutText.textContent = cut === null ? "per map" : `${cut} %`;
    this.cut.classList.toggle("idle", cut === null);
    this.cut.setAttribute("aria-valuetext", cut === null ? "recommended for each map" : `${cut} %`);
    this.opacity.disabled = view !== "overlay";
    this.colours.disabled = view === "cut" || view === "outline";
    setLook({ view, colour_map: this.colours.value, opacity: Number(this.opacity.value), cut });
  }

  settle() {
    const settled = JSON.stringify(store.look);
    if (settled === this.settled) return;
    this.settled = settled;
    this.setStateValue("look", store.look);
  }

  destroy() {
    this.root.remove();
  }
}

const KINDS = { look: LookBar, photo: Photo, map: MapCell, box: Box };
const instances = new WeakMap();

/* Streamlit calls this again when the data or the theme changes, and may run the clean-up of an outdated call late. */
export default function ({ data, parentElement, setStateValue }) {
  let instance = instances.get(parentElement);
  if (!(instance instanceof KINDS[data.kind])) {
    instance?.destroy();
    instance = new KINDS[data.kind](parentElement);
    instances.set(parentElement, instance);
  }
  const call = (instance.call = {});
  instance.update(data, setStateValue);
  return () => {
    if (instance.call !== call) return;
    instance.destroy();
    instances.delete(parentElement);
  };
}
