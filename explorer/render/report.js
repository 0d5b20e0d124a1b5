const figures = JSON.parse(document.getElementById("figures").textContent);
const config = { displayModeBar: false, responsive: true };

for (const [id, figure] of Object.entries(figures.dots)) {
  Plotly.newPlot(id, figure.data, figure.layout, config);
}

const metric = document.getElementById("metric");
function drawSpread() {
  const figure = figures.spreads[metric.value];
  Plotly.react("spread", figure.data, figure.layout, config);
  document.getElementById("spread").setAttribute("aria-label", figure.label);
}
metric.addEventListener("change", drawSpread);
drawSpread();

// A click on a header sorts the rows by it, best first, and a second click the other way round.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const first = header.dataset.first;
    const other = first === "ascending" ? "descending" : "ascending";
    const order = header.getAttribute("aria-sort") === first ? other : first;
    for (const sibling of header.parentElement.children) sibling.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const body = header.closest("table").tBodies[0];
    const value = (row) => row.cells[header.cellIndex].dataset.value ?? "";
    const sign = order === "ascending" ? 1 : -1;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (x - y);
    };
    body.append(...[...body.rows].sort(compare));
  });
}

// What is folded away on the screen is printed, and the charts fit two, the last one alone, on a page.
const charts = [...document.querySelectorAll(".chart")];
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const details of folded) details.open = true;
  for (const chart of charts) {
    const width = chart.id === "spread" ? 640 : 320;
    Plotly.relayout(chart, { width, height: 0.62 * chart.layout.height, "font.size": 8 });
  }
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
  for (const chart of charts) {
    Plotly.relayout(chart, { width: null, autosize: true, height: chart.layout.height / 0.62, "font.size": 12 });
  }
});
