// Where rows stand, in CSS pixels: heights as in ../../layout.py, panels above each other on one time axis.
const LEFT = 84, RIGHT = 124, TOP = 22, BOTTOM = 30, ROWS_HEIGHT = 640, PANEL_HEAD = 26, OWN_AXIS = 22;

// Tall rows with words for up to 8 ranks, thin ones up to 32, and a density beyond.
function heights({ ranks, tracks, about }) {
  const depth = about.phase_depth, strip = (tall) => (about.memory ? tall : 0);
  if (ranks <= 8) {
    const wire = tracks ? Math.min(36, Math.max(9, 6 * tracks)) : 0;
    return { phase: 15, depth, own: 26, wire, strip: strip(14), gap: 14, named: true, every: 1 };
  }
  if (ranks <= 32) {
    const wire = tracks ? Math.min(9, 3 + 2 * tracks) : 0;
    return { phase: 3, depth: Math.min(depth, 1), own: 12, wire, strip: strip(6), gap: 5, named: false, every: 1 };
  }
  const pitch = Math.max(2, ROWS_HEIGHT / ranks), wire = tracks && pitch > 4 ? 0.25 * pitch : 0;
  const own = 0.85 * pitch - wire, every = Math.max(1, Math.round(16 / pitch));
  return { phase: 0, depth: 0, own, wire, strip: 0, gap: 0.15 * pitch, named: false, every };
}

class Panel {
  constructor(figure, top) {
    Object.assign(this, { figure, ...heights(figure), top });
    this.phases = this.depth * this.phase;
    this.lanesHeight = this.own + (this.wire ? 1 : 0) + this.wire;
    this.row = this.phases + this.lanesHeight + (this.strip ? 1 : 0) + this.strip + this.gap;
    this.track = this.wire / Math.max(1, figure.tracks);
    this.bottom = top + figure.ranks * this.row;
  }

  // Where a rank's time of before is drawn, in the gap below its row.
  ghostTop(rank) {
    return this.rowTop(rank) + this.row - this.gap + 3;
  }

  rowTop(rank) {
    return this.top + rank * this.row;
  }

  ownTop(rank) {
    return this.rowTop(rank) + this.phases;
  }

  // Lanes of a rank as {top, height, from, to} of their spans.
  *lanes(rank) {
    const { own, wire } = this.figure.lanes[rank], top = this.ownTop(rank);
    yield { top, height: this.own, from: own[0], to: own[1], own: true };
    if (!this.wire) return;
    for (const [track, [from, to]] of wire.entries()) {
      yield { top: top + this.own + 1 + track * this.track, height: this.track, from, to, own: false };
    }
  }

  // {top, height} of the lane that a span lies in.
  laneOf(span) {
    const { rank, lane, track } = this.figure.spans, top = this.ownTop(rank[span]);
    if (lane[span] === OWN) return { top, height: this.own };
    return { top: top + this.own + 1 + track[span] * this.track, height: this.track };
  }

  rankAt(y) {
    const rank = Math.floor((y - this.top) / this.row);
    return rank >= 0 && rank < this.figure.ranks ? rank : -1;
  }
}

// Panels from top to bottom; with several, each has a head that names it. own: and an axis below it.
function panelsOf(figures, own) {
  const panels = [];
  let top = TOP;
  for (const figure of figures) {
    if (figures.length > 1) top += PANEL_HEAD - (panels.length ? 8 : 14);
    panels.push(new Panel(figure, top));
    top = panels.at(-1).bottom + 10 + (own ? OWN_AXIS : 0);
  }
  return panels;
}
