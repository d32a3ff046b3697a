// Above and below a rank's lanes, and across them: phases, memory, the critical path.

// Calls band(phase, x, end, y) for the phases in sight; where many are thinner than a pixel, for the first of them.
function bands(scene, panel, band) {
  const { figure, axis, depth, phase: height } = panel, { arrays, origin } = figure;
  const { phase_rank: rank, phase_level: level } = arrays, reached = new Map();
  for (let p = 0; p < rank.length; p++) {
    const x = axis.x(figure.phaseStart[p] - origin), end = axis.x(figure.phaseEnd[p] - origin);
    const row = rank[p] * depth + level[p];
    if (level[p] >= depth || end < LEFT || x > scene.right || end <= (reached.get(row) ?? -Infinity)) continue;
    reached.set(row, x + 0.5);
    band(p, x, end, panel.rowTop(rank[p]) + level[p] * height);
  }
}

// Slim stretches above the lanes, nested ones under the outer one.
function paintPhases(surface, scene, panel) {
  const height = panel.named ? panel.phase - 1 : panel.phase, tints = surface.style.phases.map(pixel);
  const { phase_tint: tint } = panel.figure.arrays;
  bands(scene, panel, (p, x, end, y) => surface.plot.box(tints[tint[p]], x, y, end - x, height, end - x > 3));
}

function writePhases(surface, scene, panel) {
  const { figure, phase: height } = panel, { ink } = surface.style.colors;
  if (!panel.named || !panel.depth) return;
  bands(scene, panel, (p, x, end, y) => {
    const words = figure.strings[figure.arrays.phase_name[p]], left = Math.max(x, LEFT) + 5;
    const room = Math.min(end, scene.right) - left - 3;
    if (room <= 15 || surface.wordsWidth(words, 10) >= room) return;
    surface.write(words, left, y + height - 4.5, { size: 10, ink });
  });
}

// What a rank holds over time, as steps on one scale for all ranks of the panel.
function paintMemory(surface, scene, panel, rank) {
  const { figure, axis, strip, lanesHeight } = panel, { first, time, held, most: full } = figure.memory;
  const last = first[rank + 1];
  const bottom = panel.ownTop(rank) + lanesHeight + 1 + strip, paint = pixel(surface.style.memory);
  surface.plot.box(pixel(surface.style.colors.lane), LEFT, bottom - strip, scene.right - LEFT, strip);
  const x = (at) => axis.x(at < last ? time[at] - figure.origin : figure.makespan);
  const from = Math.max(first[rank], firstAbove(time, figure.origin + axis.view.from, first[rank], last) - 1);
  for (let at = from, to; at < last && x(at) < scene.right; at = to) {
    let most = held[at];
    for (to = at + 1; to < last && x(to) < x(at) + THINNEST; to++) most = Math.max(most, held[to]);
    // Of steps within a pixel the highest, and after that pixel what is left.
    const end = x(to), next = to > at + 1 ? Math.min(x(at) + THINNEST, end) : end;
    for (const [left, right, size] of [[x(at), next, most], [next, end, held[to - 1]]]) {
      const level = (size / full) * strip;
      if (level && right > left) surface.plot.box(paint, left, bottom - level, right - left, level);
    }
  }
}

// The words beside a rank's memory.
function writeMemory(surface, scene, { figure }, rank, base) {
  surface.write(WORDS.memory, 12, base, { size: 10 });
  surface.write(figure.memory.words[rank], scene.width - 12, base, { size: 10, align: "right" });
}

// What is not on the critical path pales; what is stands out, joined from rank to rank.
function drawCriticalPath(surface, scene, panel) {
  const { figure, axis } = panel, { strong, card } = surface.style.colors, path = figure.criticalSpans;
  if (!path) return;
  const { c } = surface, { spans } = figure, top = panel.rowTop(0), bottom = panel.bottom;
  c.globalAlpha = 0.72;
  surface.box(card, LEFT, top, scene.right - LEFT, bottom - top);
  c.globalAlpha = 1;
  let before = null;
  for (const span of path) {
    const lane = panel.laneOf(span), x = axis.x(spans.start[span]), end = axis.x(spans.end[span]);
    const middle = lane.top + lane.height / 2;
    if (before !== null && before !== middle && x >= LEFT && x <= scene.right) {
      surface.box(strong, x - 0.75, Math.min(before, middle), 1.5, Math.abs(before - middle));
    }
    before = middle;
    if (end < LEFT || x > scene.right) continue;
    surface.box(surface.fills[figure.paint(span)], x, lane.top, Math.max(end - x, THINNEST), lane.height);
    surface.box(strong, x, middle - 1, Math.max(end - x, 1), 2);
  }
}

// What stood here before sliders moved: where it ended, and in the gaps each rank's own stream, slim and pale.
const GHOST = 4;

function drawGhost(surface, scene, panel) {
  const { figure, axis } = panel, { ghost } = figure, { c } = surface, { quiet_ink: quiet } = surface.style.colors;
  if (!ghost) return;
  const x = axis.x(ghost.makespan), top = panel.top - 4, slim = panel.named ? GHOST : 0;
  c.globalAlpha = 0.5;
  for (let rank = 0; slim && rank < ghost.ranks; rank++) {
    const [from, to] = ghost.lanes[rank].own, y = panel.ghostTop(rank);
    boxes(ghost, { from, to }, axis.view, axis.scale, (paint, _, __, left, right) =>
      surface.box(surface.fills[paint], axis.x(left), y, Math.max((right - left) * axis.scale, THINNEST), slim));
    surface.frame(quiet, 1, axis.x(0), y - 0.5, x - axis.x(0), slim + 1);
  }
  c.globalAlpha = 1;
  c.setLineDash([4, 3]);
  surface.frame(quiet, 1.5, axis.x(0), top, x - axis.x(0), panel.bottom - top);
  c.setLineDash([]);
}

// How long it was, on the axis, below its end; gives back where that stands: ticks there are left out.
function writeGhost(surface, scene, { figure: { ghost }, axis }, base) {
  const x = ghost ? axis.x(ghost.makespan) : -1;
  if (x < LEFT || x > scene.right + 1) return null;
  const words = fill(WORDS.before, { time: timeText(ghost.makespan) }), width = surface.wordsWidth(words, 11, 600);
  const left = Math.max(LEFT - 10, Math.min(x - width / 2, scene.width - 12 - width));
  surface.write(words, left, base, { weight: 600, ink: surface.style.colors.strong });
  return { left, right: left + width };
}
