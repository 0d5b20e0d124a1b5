/* What photographs, maps and the look bar share: the store, pictures drawn within a budget, photographs. */

const LOOK_EVENT = "cam-explorer:look";
const PHOTO_EVENT = "cam-explorer:photo";
const FRAME_BUDGET_MS = 12;
const MAX_PIXEL_RATIO = 2;
const SCALED_COPIES = 4;

const store = (window[Symbol.for("cam-explorer")] ??= {
  look: null, // {view, colour_map, opacity, cut, scale}
  tables: {}, // colour map -> Uint32Array(256), the bytes of RGBA
  diverging: null, // Uint32Array(255), zero in the middle
  wipe: 50, // where the divider of every map stands, in percent of the picture's width
  maps: new Set(), // those on the page, which may share a scale
  photographs: new Set(), // those on the page; one may be there twice while Streamlit moves it to another place
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

function setWipe(place) {
  store.wipe = Math.min(Math.max(place, 0), 100);
  window.dispatchEvent(new CustomEvent(LOOK_EVENT, { detail: store.look }));
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

/* A table of colours, from the bytes of RGB as text. */
function colours(text) {
  const bytes = decode(text);
  return Uint32Array.from({ length: bytes.length / 3 }, (_, i) => rgba(...bytes.subarray(3 * i, 3 * i + 3), 255));
}

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

  /* Takes the photograph that the data name, which may come later or be the one it has. */
  adopt() {
    this.photo = photographed(this.data.photo) ?? this.photo;
    if (this.photo) this.shape(this.photo.width / this.photo.height);
    invalidate(this);
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
    if (this.data?.identifier !== data.identifier) this.photo = undefined;
    if (this.data?.jpeg !== data.jpeg || !this.photo) this.read(data);
    this.data = data;
    this.shape(data.width / data.height);
    this.canvas.setAttribute("aria-label", data.alt);
    this.canvas.dataset.photo = data.identifier;
    store.photographs.add(this);
    invalidate(this);
  }

  async read(data) {
    const { identifier, jpeg, width, height } = data;
    const bitmap = await createImageBitmap(new Blob([decode(jpeg)], { type: "image/jpeg" }));
    if (this.abort.signal.aborted || this.data !== data) return;
    this.photo = { bitmap, width, height, copies: new Map() };
    invalidate(this);
    window.dispatchEvent(new CustomEvent(PHOTO_EVENT, { detail: identifier }));
  }

  paint(context, crop, ratio) {
    this.paintCrop(context, crop, ratio, 0.45);
  }

  destroy() {
    super.destroy();
    store.photographs.delete(this);
  }
}

/* A photograph on the page as {bitmap, width, height, copies}; nothing before it is decoded. */
function photographed(identifier) {
  return [...store.photographs].find(({ data, photo }) => photo && data.identifier === identifier)?.photo;
}
