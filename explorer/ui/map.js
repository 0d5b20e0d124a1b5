/* A map on its photograph: views, legend, readout, full screen. */

class MapCell extends Picture {
  constructor(parent) {
    super(parent);
    this.canvas.tabIndex = 0;
    this.title = element("div", { className: "title", "aria-hidden": "true" });
    this.divider = element("div", { className: "divider", role: "slider", tabIndex: 0, hidden: true,
      "aria-label": "Divider: the photograph left of it, the map right of it", "aria-valuemin": 0, "aria-valuemax": 100 });
    this.marker = element("div", { className: "marker", hidden: true });
    this.readout = element("output", { className: "readout", hidden: true });
    this.expand = element("button", { type: "button", className: "expand", hidden: !document.fullscreenEnabled });
    this.root.prepend(this.title);
    this.frame.append(this.divider, this.marker, this.readout, this.expand);
    this.bar = element("canvas", { width: 256, height: 1 });
    this.tick = element("i");
    [this.low, this.high, this.own, this.removed, this.about] =
      ["low", "high", "own", "removed", "about"].map((className) => element("span", { className }));
    this.scale = element("span", { className: "scale", role: "img" },
      this.low, element("span", { className: "bar" }, this.bar, this.tick), this.high, this.own);
    this.about.setAttribute("aria-hidden", "true");
    this.root.append(element("figcaption", {}, this.scale, this.removed, this.about));
    this.listen(window, LOOK_EVENT, () => invalidate(this));
    this.listen(window, PHOTO_EVENT, ({ detail }) => detail === this.data.photo && this.adopt());
    for (const type of ["pointermove", "pointerdown"]) this.listen(this.frame, type, (event) => this.point(event));
    for (const type of ["pointerup", "pointercancel"]) this.listen(this.frame, type, () => { this.wiping = false; });
    this.listen(this.frame, "pointerleave", (event) => event.pointerType === "mouse" && this.probe(null));
    this.listen(this.canvas, "focus", () => this.canvas.matches(":focus-visible") && this.probe(this.peak()));
    this.listen(this.canvas, "blur", () => this.probe(null));
    this.listen(this.canvas, "keydown", (event) => this.step(event));
    this.listen(this.divider, "keydown", (event) => this.slide(event));
    this.listen(this.root, "keydown", (event) => this.shortcut(event));
    this.listen(this.expand, "click", () => this.toggle());
    this.listen(this.root, "fullscreenchange", () => this.name());
    this.name();
  }

  update(data) {
    const known = this.data ?? {};
    if (known.values !== data.values) {
      this.values = decode(data.values);
      this.at = null;
      this.below = ranks(this.values);
    }
    if (known.photo !== data.photo) this.photo = undefined;
    this.data = data;
    this.signed = data.signed && { ...data.signed, values: decode(data.signed.values) };
    this.heat = this.cut = this.shade = undefined;
    this.canvas.setAttribute("aria-label", data.alt);
    this.canvas.dataset.cell = data.identifier;
    this.title.textContent = data.alt;
    this.dim(data.dimmed);
    const [left, top, right, bottom] = data.crop;
    if (!this.photo) this.shape((data.width * (bottom - top)) / (data.height * (right - left)));
    this.adopt();
    store.maps.add(this);
    this.rescale();
  }

  destroy() {
    super.destroy();
    store.maps.delete(this);
    this.rescale();
  }

  /* What comes, changes or goes may move the ends of a scale that it shares. */
  rescale() {
    if (store.look?.scale === "shared") store.maps.forEach((map) => invalidate(map));
  }

  dim(dimmed) {
    this.root.classList.toggle("dimmed", dimmed);
    this.root.setAttribute("aria-busy", dimmed);
  }

  /* The look that this map can show; one whose values Python has still to send waits as an overlay.
     Where maps share a scale, `ends` are the values of the lowest and the highest colour and `reach` is that of the signed
     colours, over all maps of the method; for its own scale `ends` is null, as it is for a map without units. */
  get look() {
    const view = this.data.view ?? store.look.view;
    const waiting = view === "signed" && !this.signed;
    const { method, extent } = this.data;
    const shared = store.look.scale === "shared" && method !== null;
    const maps = shared ? [...store.maps].filter(({ data }) => data.method === method) : [this];
    const extents = maps.map(({ data }) => data.extent).filter(Boolean);
    const ends = shared && extent
      ? [Math.min(0, ...extents.map(([low]) => low)), Math.max(...extents.map(([, high]) => high))] : null;
    const reach = Math.max(...maps.map(({ signed }) => signed?.reach ?? 0));
    return { ...store.look, view: waiting ? "overlay" : view, waiting, shared, ends, reach };
  }

  /* A level (0..255) of the map in the method's own units. */
  measured(level) {
    const [low, high] = this.data.extent;
    return low + ((high - low) * level) / 255;
  }

  /* Where a level (0..255) of the map stands among the colours (0..255). */
  place(level, ends) {
    return ends ? (255 * (this.measured(level) - ends[0])) / (ends[1] - ends[0]) : level;
  }

  /* Bring what is derived from the map in line with the look; each part only when its own input has changed. */
  prepare({ view, colour_map, cut, ends, reach }) {
    const { values, data, signed } = this;
    const { width, height, fill } = data;
    const colouring = `${colour_map} ${ends}`;
    if (this.heat?.colouring !== colouring) {
      const table = Uint32Array.from({ length: 256 }, (_, v) => store.tables[colour_map][Math.round(this.place(v, ends))]);
      this.heat = { colouring, canvas: raster(width, height, (i) => table[values[i]]) };
    }
    if (view === "signed" && signed.shown !== reach) {
      const table = store.diverging.map((_, v, all) => all[127 + Math.round(((v - 127) * signed.reach) / (reach || 1))]);
      Object.assign(signed, { shown: reach, canvas: raster(width, height, (i) => table[signed.values[i]]) });
    }
    const fraction = cut === null || data.recommended === null ? (data.recommended ?? 0) : cut / 100;
    if (this.cut?.fraction !== fraction) {
      const level = threshold(this.below, fraction);
      this.cut = { fraction, level, removed: this.below[level] / values.length };
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
    if (!store.look) return this.paintCrop(context, crop, ratio, 0.45);
    const look = this.look;
    this.prepare(look);
    const { view, colour_map, opacity, cut } = look;
    const { width: across, height: down } = context.canvas;
    const edge = view === "wipe" ? Math.round((across * store.wipe) / 100) : 0;
    context.save();
    context.beginPath();
    context.rect(edge, 0, across - edge, down);
    context.clip();
    context.imageSmoothingQuality = "medium";
    context.globalAlpha = view === "overlay" || view === "wipe" ? opacity / 100 : 1;
    const sheets = { signed: this.signed, cut: this.shade, outline: this.shade };
    context.drawImage((sheets[view] ?? this.heat).canvas, ...crop);
    context.globalAlpha = 1;
    if (view !== "cut" && view !== "signed") {
      const [x, y, width, height] = crop;
      const line = new Path2D();
      line.addPath(this.cut.path, new DOMMatrix([width / this.data.width, 0, 0, height / this.data.height, x, y]));
      strokeDouble(context, line, (view === "outline" ? 1.75 : 1) * ratio);
    }
    this.paintCrop(context, crop, ratio, view === "cut" ? 0.8 : 0.45);
    context.restore();
    this.dim(this.data.dimmed || look.waiting);
    this.legend(look);
    this.divide(view);
    this.canvas.dataset.look = [view, colour_map, opacity, cut ?? "recommended"].join("/");
    this.canvas.dataset.level = this.cut.level;
    this.canvas.dataset.removed = this.cut.removed.toFixed(4);
    this.probe(this.at);
  }

  /* What the colours stand for, and how much the cut removes. */
  legend({ view, colour_map, waiting, shared, ends, reach }) {
    const signed = view === "signed" ? this.signed : null;
    const table = signed ? store.diverging : store.tables[colour_map];
    if (this.table !== table) {
      this.table = table;
      this.bar.getContext("2d").drawImage(raster(256, 1, (i) => table[Math.floor((i * table.length) / 256)]), 0, 0);
    }
    const { recommended, method } = this.data;
    const [low, high] = signed ? [-reach, reach].map(withSign) : (ends ?? [0, 1]).map(short);
    this.low.textContent = low;
    this.high.textContent = high;
    this.own.textContent = shared ? (signed || ends ? "shared" : "no units") : signed ? "" : "own scale";
    this.tick.hidden = Boolean(signed) || recommended === null;
    this.tick.style.left = `${Math.min(this.place(this.cut.level, ends) / 2.55, 100)}%`;
    this.scale.classList.toggle("signed", Boolean(signed));
    this.scale.classList.toggle("unused", view === "cut" || view === "outline");
    const removed = recommended === null ? "" : `${Math.round(100 * this.cut.removed)}% removed`;
    this.removed.textContent = waiting ? "…" : !signed ? removed : signed.negative ? "before ReLU" : "no negative part";
    const together = `One scale for all ${method} maps here, in the method's own units`;
    let about = "Each map has a scale of its own, from 0 to 1; the colours are linear in the value.";
    if (signed) {
      about = `The map before ReLU and scaling: blue below, white at and orange above zero, up to ${low} and ${high}.`;
      if (!signed.negative) about += " Nothing is below zero.";
      if (shared) about += ` ${together}.`;
    } else if (ends) {
      const own = this.data.extent.map(short).join(" to ");
      about = `${together}, from ${low} to ${high}; this map has ${own}. The colours are linear in the value.`;
    } else if (shared) {
      about = `${method} maps have no units beyond 0 and 1, so they share no scale; the colours are linear in the value.`;
    }
    this.about.textContent = this.scale.title = about;
    this.scale.setAttribute("aria-label", about);
  }

  divide(view) {
    this.divider.hidden = view !== "wipe";
    this.frame.classList.toggle("wiped", view === "wipe");
    this.divider.style.left = `${store.wipe}%`;
    const place = Math.round(store.wipe);
    this.divider.setAttribute("aria-valuenow", place);
    this.divider.setAttribute("aria-valuetext", `${place}% photograph`);
  }

  /* Show the value of a map pixel [column, row], or nothing. */
  probe(at) {
    this.at = at;
    this.marker.hidden = this.readout.hidden = !at || !this.cut;
    if (this.marker.hidden) return;
    const { width, height, crop } = this.data;
    const left = crop[0] + ((at[0] + 0.5) / width) * (crop[2] - crop[0]);
    const top = crop[1] + ((at[1] + 0.5) / height) * (crop[3] - crop[1]);
    Object.assign(this.marker.style, { left: `${100 * left}%`, top: `${100 * top}%` });
    this.readout.classList.toggle("above", top > 0.7);
    this.readout.textContent = this.say(at[1] * width + at[0]);
  }

  /* A map pixel in words: its value, in brackets that of the method's own units if their scale is shared, the share of
     the area that lies below it, and the class if all that were removed. */
  say(pixel) {
    const value = this.values[pixel];
    const map = (value / 255).toFixed(2);
    const { view, ends } = this.look;
    if (view === "signed") {
      const { values, reach } = this.signed;
      return `${withSign((reach * (values[pixel] - 127)) / 127)} · map ${map}`;
    }
    const below = (100 * this.below[value]) / this.values.length;
    const chance = along(this.data.curve, below);
    const units = ends ? ` (${short(this.measured(value))})` : "";
    return `${map}${units} · ${Math.round(below)}% below${chance === null ? "" : ` · cut here: about ${chance.toFixed(3)}`}`;
  }

  /* The mouse moves the divider wherever it is pressed; a finger that does not drag reads a value or scrolls. */
  point(event) {
    if (this.expand.contains(event.target)) return this.probe(null);
    const area = this.frame.getBoundingClientRect();
    const place = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    if (event.type === "pointerdown" && event.button === 0 && !this.divider.hidden) {
      this.wiping = true;
      this.frame.setPointerCapture(event.pointerId);
    }
    if (this.wiping && (event.type === "pointermove" || event.pointerType === "mouse")) setWipe(100 * place[0]);
    const { width, height, crop } = this.data;
    const across = (place[0] - crop[0]) / (crop[2] - crop[0]);
    const down = (place[1] - crop[1]) / (crop[3] - crop[1]);
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

  slide(event) {
    const by = event.shiftKey ? 10 : 1;
    const to = {
      ArrowLeft: store.wipe - by, ArrowDown: store.wipe - by, ArrowRight: store.wipe + by, ArrowUp: store.wipe + by,
      Home: 0, End: 100,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    setWipe(to);
  }

  shortcut(event) {
    if (event.key.toLowerCase() !== "f" || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!document.fullscreenEnabled) return;
    event.preventDefault();
    this.toggle();
  }

  /* The browser lets Escape leave the full screen too. */
  toggle() {
    if (this.root.matches(":fullscreen")) document.exitFullscreen();
    else this.root.requestFullscreen();
  }

  name() {
    const name = this.root.matches(":fullscreen") ? "Leave full screen" : "Full screen";
    this.expand.setAttribute("aria-label", name);
    this.expand.title = `${name} (F)`;
  }
}
