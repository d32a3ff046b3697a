// What moves above the picture: the cursor of the scrubber, what is under the pointer, what is selected.

// state: {cursor: time or null, hover: {panel, from, to} or null, band: {x, y, width, height} or null,
// selected: a set of spans for each panel}
function drawOverlay(surface, scene, { cursor, hover, band, selected }) {
  surface.clear(scene.width, scene.height);
  surface.within(LEFT - 1, 0, scene.right - LEFT + 2, scene.height, () => {
    scene.panels.forEach((panel, at) => drawSelected(surface, panel, selected[at]));
    if (hover) drawHover(surface, hover);
    if (cursor !== null) drawCursor(surface, scene, cursor);
    if (band) drawBand(surface, band);
  });
}

// What comes after the cursor has not happened yet.
function drawCursor(surface, scene, cursor) {
  const { c } = surface, { card, ink } = surface.style.colors, x = scene.x(cursor);
  const top = scene.panels[0].top - 4, bottom = scene.height - BOTTOM;
  c.globalAlpha = 0.66;
  for (const panel of scene.panels) surface.box(card, x, panel.top - 1, scene.right - x, panel.bottom - panel.top);
  c.globalAlpha = 1;
  surface.box(ink, x - 0.75, top, 1.5, bottom - top + 4);
  c.beginPath();
  c.moveTo(x - 5, top - 4), c.lineTo(x + 5, top - 4), c.lineTo(x, top + 3);
  c.fill();
}

function drawHover(surface, { panel, from, to }) {
  const { figure } = panel, { spans, origin } = figure, { ink } = surface.style.colors;
  outline(surface, panel, from, to, ink, 1.6);
  const last = to - from === 1 ? figure.lastToCome(from) : null;
  if (!last) return;
  const rank = figure.arrays.op_rank[last.op];
  if (rank === spans.rank[from] || last.at <= spans.start[from]) return;
  // A line from the rank that was waited for, where it came, to the one that waited.
  const x = panel.axis.x(last.at - origin), partner = panel.ownTop(rank) + panel.own / 2, lane = panel.laneOf(from);
  const { c } = surface;
  c.strokeStyle = c.fillStyle = surface.style.colors.strong;
  c.lineWidth = 1.6;
  c.setLineDash([4, 3]);
  c.beginPath();
  c.moveTo(x, partner), c.lineTo(x, lane.top + lane.height / 2);
  c.stroke();
  c.setLineDash([]);
  c.beginPath();
  c.arc(x, partner, 4, 0, 7);
  c.fill();
}

function outline(surface, panel, from, to, ink, thick) {
  const { spans, origin } = panel.figure, lane = panel.laneOf(from), { card } = surface.style.colors;
  const { axis } = panel, x = axis.x(spans.start[from] - origin), end = axis.x(spans.end[to - 1] - origin);
  const width = Math.max(end - x, 2);
  surface.frame(card, thick + 2, x, lane.top, width, lane.height);
  surface.frame(ink, thick, x, lane.top, width, lane.height);
}

// Those that lie close together on a lane share an outline: thousands may be selected.
function drawSelected(surface, panel, selected) {
  const { spans } = panel.figure, gap = 1 / panel.axis.scale, { strong } = surface.style.colors;
  let from = -1, to = -1;
  const flush = () => from >= 0 && outline(surface, panel, from, to, strong, 2);
  for (const span of selected) {
    const joined = span === to && spans.track[span] === spans.track[from] && spans.lane[span] === spans.lane[from];
    if (joined && spans.rank[span] === spans.rank[from] && spans.start[span] - spans.end[to - 1] < gap) {
      to = span + 1;
      continue;
    }
    flush();
    [from, to] = [span, span + 1];
  }
  flush();
}

function drawBand(surface, { x, y, width, height }) {
  const { ink } = surface.style.colors, { c } = surface;
  c.globalAlpha = 0.08;
  surface.box(ink, x, y, width, height);
  c.globalAlpha = 1;
  surface.frame(ink, 1, x, y, width, height);
}
