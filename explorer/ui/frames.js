/* A search as a film: the frames are sent once, and played or stepped through here. */

const PAUSE = 160; // milliseconds
const SPACE = "http://www.w3.org/2000/svg";
const WIDE = 300, HIGH = 90;

function svg(tag, attributes, ...children) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const instances = new WeakMap();

class Film {
  constructor(parent, data) {
    this.data = data;
    const last = data.frames.length - 1;
    this.picture = element("img", { alt: data.alt });
    this.play = element("button", { type: "button" });
    this.slider = element("input", { type: "range", min: 0, max: last, step: 1, value: 0, "aria-label": "Iteration" });
    this.read = element("output", {});
    this.root = element("figure", {}, this.picture, this.chart(),
      element("figcaption", {}, element("div", { className: "bar" }, this.play, this.slider), this.read));
    this.play.onclick = () => (this.timer ? this.stop() : this.start());
    this.slider.oninput = () => { this.stop(); this.show(); };
    parent.append(this.root);
    this.stop();
    this.show();
  }

  chart() {
    const { chances, whole } = this.data;
    const top = Math.max(...chances, whole) * 1.1 || 1;
    this.place = (index) => [(index / Math.max(1, chances.length - 1)) * WIDE, HIGH * (1 - chances[index] / top)];
    const level = HIGH * (1 - whole / top);
    this.dot = svg("circle", { r: 5 });
    return svg("svg", { viewBox: `-8 -8 ${WIDE + 16} ${HIGH + 16}`, role: "img", "aria-label": this.data.curve },
      svg("line", { x1: 0, x2: WIDE, y1: level, y2: level, class: "whole" }),
      svg("line", { x1: 0, x2: WIDE, y1: HIGH, y2: HIGH, class: "axis" }),
      svg("polyline", { points: chances.map((_, index) => this.place(index).join()).join(" ") }), this.dot);
  }

  show() {
    const at = Number(this.slider.value);
    const { frames, chances } = this.data;
    this.picture.src = `data:image/jpeg;base64,${frames[at]}`;
    const [x, y] = this.place(at);
    this.dot.setAttribute("cx", x);
    this.dot.setAttribute("cy", y);
    const words = `Iteration ${at} of ${frames.length - 1}: probability ${(100 * chances[at]).toFixed(1)}%`;
    this.read.textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
  }

  start() {
    if (Number(this.slider.value) >= Number(this.slider.max)) this.slider.value = 0;
    this.play.textContent = "Pause";
    this.timer = setInterval(() => {
      this.slider.value = Number(this.slider.value) + 1;
      this.show();
      if (this.slider.value === this.slider.max) this.stop();
    }, PAUSE);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.play.textContent = "Play";
  }

  destroy() {
    this.stop();
    this.root.remove();
  }
}

/* A rerun with the same film leaves it as it is, at its frame. */
export default function ({ data, parentElement }) {
  let film = instances.get(parentElement);
  if (film?.data.key !== data.key) {
    film?.destroy();
    film = new Film(parentElement, data);
    instances.set(parentElement, film);
  }
  const call = (film.call = {});
  return () => {
    if (film.call !== call) return;
    film.destroy();
    instances.delete(parentElement);
  };
}
