// What a person does to the chart: play, select, go from op to op by keys.

const PLAY_S = 6; // a play from the left edge of the view to the right one

class InteractiveChart extends Chart {
  scrub(time) {
    this.cursor = time >= this.scene.view.to ? null : time;
    this.drawOver();
    this.on.moved();
  }

  get playing() {
    return this.frame !== undefined;
  }

  togglePlay() {
    if (this.playing) return this.pause();
    const { from, to } = this.scene.view, within = this.cursor !== null && this.cursor > from && this.cursor < to;
    this.cursor = within ? this.cursor : from;
    let before = performance.now();
    const step = (now) => {
      const { view } = this.scene, passed = Math.max(0, now - before) / (1000 * PLAY_S);
      const time = this.cursor + (view.to - view.from) * passed;
      before = now;
      this.frame = time < view.to ? requestAnimationFrame(step) : undefined;
      this.scrub(time);
    };
    this.frame = requestAnimationFrame(step);
    this.on.moved();
  }

  pause() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    this.on.moved();
  }

  // Selected are positions among each figure's spans.
  pick(at, more) {
    const found = this.find(at);
    this.select(found && this.spansOfOp(found), more);
  }

  pickHovered() {
    this.select(this.hover && this.spansOfOp(this.hover), false);
  }

  // All spans of the op that is meant, or the merged ones; of one panel.
  spansOfOp({ panel, from, to }) {
    const { spans } = panel.figure, chosen = [];
    if (to - from > 1) for (let span = from; span < to; span++) chosen.push(span);
    else spans.op.forEach((op, span) => op === spans.op[from] && chosen.push(span));
    return this.scene.panels.map((other) => (other === panel ? chosen : []));
  }

  select(chosen, more) {
    const wanted = chosen ?? this.figures.map(() => []);
    this.selected = wanted.map((spans, at) => inOrder(more ? [...this.selected[at], ...spans] : spans));
    this.drawOver();
    this.on.selected();
    this.on.said(this.selectionText());
  }

  selectionText() {
    const count = this.selected.reduce((sum, spans) => sum + spans.length, 0);
    const seconds = this.selected.reduce((sum, spans, at) => sum + duration(this.figures[at].spans, spans), 0);
    if (!count) return WORDS.nothing_selected;
    return fill(count === 1 ? WORDS.one_selected : WORDS.selected, { count, time: timeText(seconds) });
  }

  clear() {
    this.leave();
    this.select(null, false);
  }

  // The band of a drag with shift, while it grows; null: none.
  stretch(press, at) {
    this.band = press && bandOf(press, at);
    this.drawOver();
  }

  choose(press, at) {
    const band = bandOf(press, at);
    this.band = null;
    this.select(this.scene.panels.map((panel) => this.inBand(panel, band)), false);
  }

  inBand(panel, { x, y, width, height }) {
    const { figure, axis } = panel, { start, end } = figure.spans, chosen = [];
    const from = axis.time(x) + figure.origin, to = axis.time(x + width) + figure.origin;
    for (let rank = 0; rank < figure.ranks; rank++)
      for (const lane of panel.lanes(rank)) {
        if (lane.top + lane.height <= y || lane.top >= y + height) continue;
        for (let s = firstAbove(end, from, lane.from, lane.to); s < lane.to && start[s] < to; s++) chosen.push(s);
      }
    return chosen;
  }

  get lanes() {
    const found = [];
    for (const panel of this.scene.panels)
      for (let rank = 0; rank < panel.figure.ranks; rank++)
        for (const lane of panel.lanes(rank)) if (lane.to > lane.from) found.push({ panel, ...lane });
    return found;
  }

  step(by) {
    const { lanes, hover } = this, mine = hover && lanes.find((lane) => isIn(lane, hover));
    if (!mine) return this.rest(lanes[0]);
    const at = by > 0 ? hover.to : hover.from - 1;
    if (at >= mine.from && at < mine.to) this.restOn(mine.panel, at);
  }

  stepLane(by) {
    const { lanes, hover } = this, mine = hover ? lanes.findIndex((lane) => isIn(lane, hover)) : -by;
    this.rest(lanes[Math.min(Math.max(mine + by, 0), lanes.length - 1)]);
  }

  // Rest on the lane's span at the time of the one before, else on the first in view.
  rest(lane) {
    if (!lane) return;
    const { hover } = this, { figure, axis } = lane.panel;
    let time = axis.view.from;
    if (hover) {
      const { figure: { spans, origin }, axis: before } = hover.panel;
      time = (spans.start[hover.from] - origin) * (before.stretch / axis.stretch);
    }
    const at = firstAbove(figure.spans.end, time + figure.origin, lane.from, lane.to);
    this.restOn(lane.panel, Math.min(at, lane.to - 1));
  }

  restOn(panel, span) {
    const { axis, figure: { spans, origin } } = panel, { view } = axis, half = (view.to - view.from) / 2;
    const start = spans.start[span] - origin, end = spans.end[span] - origin;
    const look = (from, to) => this.look(from * axis.stretch, to * axis.stretch);
    if (end <= view.from || start >= view.to) look(start - half, start + half);
    this.hover = { panel, from: span, to: span + 1 };
    const lane = panel.laneOf(span), lines = spanLines(panel.figure, span);
    this.on.hovered(lines, axis.x(Math.max(start, axis.view.from)), lane.top + lane.height);
    this.on.said(lines.join(", "));
    this.drawOver();
  }

  // Places `figure` again by `retime()`, redraws at once, and keeps what is selected as far as it is still there.
  retimed(figure, retime) {
    const at = this.figures.indexOf(figure), kept = new Set(this.selected[at].map((span) => spanKey(figure, span)));
    this.hover = null;
    retime();
    this.selected[at] = kept.size ? [...figure.spans.op.keys()].filter((span) => kept.has(spanKey(figure, span))) : [];
    this.scene.arrange();
    if (this.cursor !== null && this.cursor >= this.scene.view.to) this.cursor = null;
    this.draw();
    this.on.moved();
  }
}

function spanKey({ spans }, span) {
  return (spans.op[span] * 2 + spans.lane[span]) * 3 + spans.activity[span];
}

function isIn({ panel, from, to }, hover) {
  return panel === hover.panel && hover.from >= from && hover.from < to;
}

function inOrder(spans) {
  return [...new Set(spans)].sort((a, b) => a - b);
}

function duration({ start, end }, chosen) {
  return chosen.reduce((sum, span) => sum + end[span] - start[span], 0);
}

function bandOf(press, at) {
  const x = Math.max(LEFT, Math.min(press.x, at.x)), y = Math.min(press.y, at.y);
  return { x, y, width: Math.max(press.x, at.x) - x, height: Math.abs(press.y - at.y) };
}
