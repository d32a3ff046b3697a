// The picture itself: axis, phases, lanes, names of rows, figures of each rank. What moves above it is overlay.js.

// What both canvases are drawn from: panels on one time axis or on axes of their own, and which stretch is in view, in
// the time of the longest.
class Scene {
  constructor(figures, style) {
    Object.assign(this, { figures, style, width: 0, view: { from: 0, to: 1 }, critical: false });
    this.own = areFarApart(figures.map(({ makespan }) => makespan));
    this.arrange();
  }

  // After a figure was placed again: rows and the longest time; a view of everything stays one of everything.
  arrange() {
    const whole = this.makespan === undefined || (this.view.from === 0 && this.view.to === this.makespan);
    this.panels = panelsOf(this.figures, this.own);
    const lengths = axisLengths(this.figures.map(({ extent }) => extent), this.own);
    this.panels.forEach((panel, at) => (panel.axis = new Axis(this, lengths[at])));
    this.empty = this.figures.every(({ makespan }) => !makespan);
    this.makespan = Math.max(...lengths);
    this.height = this.panels.at(-1).bottom + BOTTOM;
    if (whole) this.view = { from: 0, to: this.makespan };
    else this.look(this.view.from, this.view.to);
  }

  // Put from .. to in view, as far as there is something to see; false when it was.
  look(from, to) {
    const span = Math.min(Math.max(to - from, this.makespan * 1e-6), this.makespan);
    const start = Math.min(Math.max(from, 0), this.makespan - span), before = this.view;
    this.view = { from: start, to: span === this.makespan ? this.makespan : start + span };
    return before.from !== this.view.from || before.to !== this.view.to;
  }

  get right() {
    return Math.max(LEFT + 60, this.width - RIGHT);
  }

  get scale() {
    return (this.right - LEFT) / (this.view.to - this.view.from);
  }

  x(time) {
    return LEFT + (time - this.view.from) * this.scale;
  }

  time(x) {
    return this.view.from + (x - LEFT) / this.scale;
  }
}

function drawPicture(surface, scene) {
  const { panels } = scene, { card } = surface.style.colors;
  surface.clear(scene.width, scene.height);
  surface.box(card, 0, 0, scene.width, scene.height);
  surface.plot.begin(LEFT, scene.right, card);
  const axes = axesOf(scene);
  if (!scene.empty) for (const each of axes) paintGrid(surface, each);
  const wide = panels.flatMap((panel) => paintPanel(surface, scene, panel));
  surface.plot.put();
  for (const each of axes) writeAxis(surface, scene, each);
  writeColumns(surface, scene);
  for (const panel of panels) writeRows(surface, scene, panel);
  surface.within(LEFT, 0, scene.right - LEFT, scene.height, () => {
    for (const panel of panels) drawGhost(surface, scene, panel);
    for (const box of wide) writeName(surface, box);
    for (const panel of panels) writePhases(surface, scene, panel);
    if (scene.critical) for (const panel of panels) drawCriticalPath(surface, scene, panel);
  });
}

// The axes that are drawn: one below all panels, or one below each. {axis, top, bottom, unit, ticks}
function axesOf(scene) {
  const { panels, own, empty } = scene, most = Math.max(3, (scene.right - LEFT) / 80);
  const drawn = own ? panels.map((panel) => [panel, panel]) : [[panels[0], panels.at(-1)]];
  return drawn.map(([first, last]) => {
    const { axis } = last, { from, to } = axis.view;
    const ticks = empty ? { unit: "s", ticks: [] } : timeAxis(from, to, to, most);
    return { axis, top: first.top, bottom: last.bottom, ...ticks };
  });
}

function paintGrid(surface, { axis, top, bottom, ticks }) {
  const grid = pixel(surface.style.colors.grid);
  for (const [at] of ticks) surface.plot.box(grid, axis.x(at) - 0.5, top - 4, 1, bottom - top + 8);
}

function writeAxis(surface, scene, { axis, bottom, unit, ticks }) {
  const base = bottom + BOTTOM - 13;
  const before = writeGhost(surface, scene, scene.panels.find((panel) => panel.bottom === bottom), base);
  for (const [at, words] of ticks) {
    const x = axis.x(at), half = surface.wordsWidth(words, 11) / 2 + 6;
    const free = !before || x + half < before.left || x - half > before.right;
    if (free) surface.write(words, x, base, { align: "center" });
  }
  surface.write(fill(WORDS.time, { unit }), 12, base);
}

function writeColumns(surface, scene) {
  const top = scene.panels[0].top - 8;
  surface.write(WORDS.compute, scene.width - 66, top, { align: "right" });
  surface.write(WORDS.bubble, scene.width - 12, top, { align: "right" });
}

// The name of a panel among several, and its scale if that is its own.
function writeHead(surface, scene, { figure, axis, top }) {
  const { ink } = surface.style.colors, { from, to } = axis.view, base = top - 8;
  const scale = scene.own ? fill(WORDS.own_scale, { time: timeText(to - from) }) : "";
  const room = scene.right - 12 - (scale ? surface.wordsWidth(scale, 11) + 16 : 0);
  const name = surface.cut(kindText(figure), room, { weight: 600 });
  surface.write(name, 12, base, { weight: 600, ink });
  if (scale) surface.write(scale, 12 + surface.wordsWidth(name, 11, 600) + 16, base);
}

// Grounds, phases, spans and memory of all rows; gives back the boxes that may have room for a name.
function paintPanel(surface, scene, panel) {
  const { figure, own, wire } = panel, ground = pixel(surface.style.colors.lane), wide = [];
  const width = scene.right - LEFT;
  for (let rank = 0; rank < figure.ranks; rank++) {
    const top = panel.ownTop(rank);
    surface.plot.box(ground, LEFT, top, width, own);
    if (wire) surface.plot.box(ground, LEFT, top + own + 1, width, wire);
    if (panel.strip) paintMemory(surface, scene, panel, rank);
    for (const lane of panel.lanes(rank)) paintLane(surface.plot, panel, lane, wide);
  }
  if (panel.depth) paintPhases(surface, scene, panel);
  return wide;
}

// Pauses of less than half a pixel are painted over: every tenth of them would round to a line.
function paintLane(plot, panel, lane, wide) {
  const { figure, axis } = panel, { view, scale } = axis, { top, height } = lane, named = panel.named && lane.own;
  let left = -Infinity, reach = -Infinity;
  boxes(figure, lane, view, scale, (paint, span, _, from, to, bottom, share) => {
    const x = axis.x(from - figure.origin), width = (to - from) * scale, y = top + height * (1 - bottom - share);
    if (!bottom) [left, reach] = [x - reach < 0.5 ? reach : x, x + width];
    // A light edge parts neighbours.
    plot.box(plot.paints[paint], left, y, reach - left, height * share, width > 3 && height > 4);
    if (named && width > 20) wide.push({ figure, paint, span, x, width, y: top + height / 2 + 4 });
  });
}

// Names and figures of the rows.
function writeRows(surface, scene, panel) {
  const { figure, own, wire, strip } = panel, { ink } = surface.style.colors;
  if (scene.panels.length > 1) writeHead(surface, scene, panel);
  for (let rank = 0; rank < figure.ranks; rank += panel.every) {
    const top = panel.ownTop(rank), base = top + own / 2 + 4, { bubble } = figure.sums.byRank[rank];
    surface.write(fill(WORDS.rank, { rank }), 12, base, { weight: 600, ink });
    if (panel.named && wire) surface.write(WORDS.wire, 12, top + own + 1 + wire / 2 + 3.5, { size: 10 });
    if (panel.named && strip) writeMemory(surface, scene, panel, rank, top + panel.lanesHeight + strip / 2 + 4.5);
    const [computes, waits] = figure.makespan ? [percentText(1 - bubble), percentText(bubble)] : ["–", "–"];
    surface.write(computes, scene.width - 66, base, { align: "right", ink });
    surface.write(waits, scene.width - 12, base, { align: "right" });
  }
}

// The op's name, in the part of the box that is in sight.
function writeName(surface, { figure, paint, span, x, width, y }) {
  const name = figure.nameOf(span), look = surface.style.looks[paint];
  const left = Math.max(x, LEFT), right = Math.min(x + width, surface.width - RIGHT);
  if (!name || surface.wordsWidth(name, 11) + 8 > right - left) return;
  const plate = look.pattern === "plain" ? null : look.fill;
  surface.write(name, (left + right) / 2, y, { align: "center", ink: look.ink, plate });
}
