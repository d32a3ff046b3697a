// The picture as something to act on: its two canvases, the view, pointer, cursor and selection, and when to redraw.

class Chart {
  // on: {moved(), hovered(lines or null, x, y), said(words), selected()}: what the rest of the card wants to know.
  constructor(area, figures, style, on) {
    Object.assign(this, { area, figures, on, hover: null, band: null, cursor: null, dirty: false });
    [this.base, this.over] = area.querySelectorAll("canvas");
    this.scene = new Scene(figures, style);
    this.surfaces = [new Surface(this.base, style), new Surface(this.over, style)];
    this.selected = figures.map(() => []);
    this.lane = { panel: 0, lane: 0 };
  }

  resize(width) {
    if (width === this.scene.width || width < LEFT + RIGHT) return;
    this.scene.width = width;
    this.draw();
  }

  draw() {
    this.dirty = false;
    drawPicture(this.surfaces[0], this.scene);
    this.drawOver();
  }

  drawOver() {
    drawOverlay(this.surfaces[1], this.scene, this);
  }

  // Draw before the next frame, however often it is asked for.
  redraw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => this.dirty && this.draw());
  }

  look(from, to) {
    if (!this.scene.look(from, to)) return;
    this.redraw();
    this.on.moved();
  }

  pan({ from, to }, by) {
    this.look(from + by, to + by);
  }

  zoom(factor, around = (this.scene.view.from + this.scene.view.to) / 2) {
    const { from, to } = this.scene.view;
    this.look(around - (around - from) / factor, around + (to - around) / factor);
  }

  // Each figure on its own scale, or all on one.
  useOwnScales(own) {
    this.leave();
    this.scene.own = own;
    this.scene.arrange();
    this.draw();
    this.on.moved();
  }

  whole() {
    this.look(0, this.scene.makespan);
  }

  panelAt(y) {
    return this.scene.panels.find((panel) => panel.rankAt(y) >= 0);
  }

  find({ x, y }) {
    const panel = this.panelAt(y);
    if (!panel || x < LEFT || x > this.scene.right) return null;
    const lane = [...panel.lanes(panel.rankAt(y))].find(({ top, height }) => y >= top && y < top + height + 1);
    const { axis } = panel, found = lane && spansAt(panel.figure, lane, axis.view, axis.scale, axis.time(x));
    return found ? { panel, ...found } : null;
  }

  hoverAt(at) {
    const found = this.find(at), same = found?.from === this.hover?.from && found?.panel === this.hover?.panel;
    if (found || this.hover) this.on.hovered(found && this.lines(found), at.x, at.y);
    if (same) return;
    this.hover = found;
    this.drawOver();
  }

  lines({ panel: { figure }, from, to, seconds }) {
    return to - from === 1 ? spanLines(figure, from) : manyLines(figure, [from, to], seconds);
  }

  leave() {
    if (!this.hover) return;
    this.hover = null;
    this.on.hovered(null);
    this.drawOver();
  }
}
