// Spans as boxes: one for each that can be seen, one for each pixel's worth of those that cannot (marks.py).
const THINNEST = 1; // CSS pixels: spans below this share a box
const BIN = 2; // CSS pixels that a shared box covers at most; bins stand still while the picture is moved

// Calls box(paint, from, to, left, right, bottom, height): times, and the part of the lane's height (0: lower edge).
// lane: {from, to} among the figure's spans; scale: pixels a second. Gives back how many boxes there were.
function boxes(figure, { from, to }, view, scale, box) {
  const { start, end } = figure.spans, origin = figure.origin, thin_s = THINNEST / scale, bin_s = BIN / scale;
  const paints = figure.about.paint_names.length, shared = new Float64Array(paints);
  let first = -1, bin = 0, reach = 0, count = 0;
  const flush = (until) => {
    if (first >= 0) count += sharedBoxes(figure, first, until, shared, box);
    first = -1;
  };
  let at = firstAbove(end, origin + view.from - bin_s, from, to);
  for (; at < to && start[at] - origin < view.to; at++) {
    const begins = start[at], duration = end[at] - begins;
    if (duration >= thin_s) {
      flush(at);
      box(figure.paint(at), at, at + 1, begins, end[at], 0, 1);
      count++;
      continue;
    }
    const mine = Math.floor((begins - origin) / bin_s);
    if (first >= 0 && (mine !== bin || begins - reach > thin_s)) flush(at);
    if (first < 0) first = at, bin = mine, shared.fill(0);
    shared[figure.paint(at)] += duration;
    reach = end[at];
  }
  flush(at);
  return count;
}

// One box in which each paint takes its share of the height: a density, in which none is hidden by its neighbour.
function sharedBoxes({ spans }, first, until, shared, box) {
  const all = shared.reduce((sum, part) => sum + part, 0);
  let bottom = 0, count = 0;
  shared.forEach((part, paint) => {
    if (!part) return;
    box(paint, first, until, spans.start[first], spans.end[until - 1], bottom, part / all);
    bottom += part / all;
    count++;
  });
  return count;
}

// The spans that are drawn where a pointer rests, as {from, to, seconds of each paint}; null where the lane is idle.
function spansAt(figure, lane, view, scale, time) {
  const slack = 1 / scale;
  let found = null, distance = Infinity;
  boxes(figure, lane, { from: time - 4 * slack, to: time + 4 * slack }, scale, (paint, from, to, left, right) => {
    const away = Math.max(left - figure.origin - time, time - (right - figure.origin), 0);
    if (away > 2 * slack || away > distance) return;
    if (away < distance) found = { from, to, seconds: new Array(figure.about.paint_names.length).fill(0) };
    distance = away;
  });
  const { start, end } = figure.spans;
  for (let s = found?.from; s < found?.to; s++) found.seconds[figure.paint(s)] += end[s] - start[s];
  return found;
}
