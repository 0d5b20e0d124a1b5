/* What is computed of a map's 8-bit values. */

/* How many of the values (0..255) lie under each level (0..256). */
function ranks(values) {
  const below = new Uint32Array(257);
  for (const value of values) below[value + 1]++;
  return below.map(((sum) => (count) => (sum += count))(0));
}

/* The level under which the number of values is nearest to the fraction of the area. */
function threshold(below, fraction) {
  const wanted = Math.floor(below[256] * fraction);
  const miss = (level) => Math.abs(below[level] - wanted);
  return below.reduce((best, _, level) => (miss(level) < miss(best) ? level : best), 0);
}

/* The height of a curve of ascending points [x, y] over a place, linear in between; null beyond its ends. */
function along(curve, place) {
  const end = curve.findIndex(([x]) => x >= place);
  if (end < 1) return curve[end]?.[0] === place ? curve[end][1] : null;
  const [[x, y], [u, v]] = curve.slice(end - 1);
  return y + ((v - y) * (place - x)) / (u - x);
}

/* A number of a method's own units, to three digits, and with its sign if it is not zero. */
const short = (value) => `${value < 0 ? "−" : ""}${Number(Math.abs(value).toPrecision(3))}`;
const withSign = (value) => `${value > 0 ? "+" : ""}${short(value)}`;

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
