/* Points on a plane. The one that is pointed at, or reached by the arrow keys, shows its thumbnail. */

const SPACE = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const node = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export default function ({ data, parentElement }) {
  parentElement.querySelector("figure")?.remove();
  const figure = document.createElement("figure");
  const chart = svg("svg", { viewBox: "-30 -30 1060 560", role: "application", tabindex: 0,
    "aria-label": `${data.alt}. The arrow keys go from picture to picture.` });
  const told = document.createElement("figcaption");
  told.setAttribute("aria-live", "polite");
  const shown = document.createElement("div");
  const words = document.createElement("span");
  told.append(shown, words);
  const points = data.points.map(([x, y]) => svg("circle", { cx: x, cy: 500 - y / 2, r: 6 }));
  chart.append(...points);
  figure.append(chart, told);
  parentElement.append(figure);
  shown.style.backgroundImage = `url(data:image/jpeg;base64,${data.sheet})`;
  let at = -1;

  function show(index) {
    points[at]?.classList.remove("at");
    at = index;
    points[at].classList.add("at");
    chart.append(points[at]);
    const rows = Math.ceil(points.length / data.columns), side = 96;
    shown.style.backgroundSize = `${data.columns * side}px ${rows * side}px`;
    shown.style.backgroundPosition = `-${(at % data.columns) * side}px -${Math.floor(at / data.columns) * side}px`;
    shown.classList.add("full");
    words.textContent = `${data.titles[at]}, ${data.notes[at]}`;
  }

  function nearest(event) {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    let best = -1, distance = 40 * 40;
    data.points.forEach(([px, py], index) => {
      const away = (px - x) ** 2 + (500 - py / 2 - y) ** 2;
      if (away < distance) [best, distance] = [index, away];
    });
    if (best >= 0 && best !== at) show(best);
  }

  chart.addEventListener("pointermove", nearest);
  chart.addEventListener("pointerdown", nearest);
  const order = data.points.map((_, index) => index).sort((one, other) => data.points[one][0] - data.points[other][0]);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !order.length) return;
    event.preventDefault();
    const place = at < 0 ? (step > 0 ? -1 : 0) : order.indexOf(at);
    show(order[(place + step + order.length) % order.length]);
  });
}
