// Which stretch of time a board shows: all of it, or a part. Wheel, drag and double click on the picture.

const ZOOM = 1.5, WHEEL = 0.0018, CLOSEST = 500, CLICK_PX = 4; // a press that moves less is a click

class View {
  constructor(changed) {
    Object.assign(this, { changed, extent: 0, from: 0, width: 0 });
  }

  // Another picture: all of it, or the same stretch if a part was in view.
  fit(extent) {
    const all = this.width >= this.extent;
    this.extent = extent;
    this.look(all ? 0 : this.from, all ? extent : this.width);
  }

  look(from, width) {
    this.width = Math.min(this.extent, Math.max(this.extent / CLOSEST, width));
    this.from = Math.max(0, Math.min(from, this.extent - this.width));
    this.changed();
  }

  zoom(factor, around = this.from + this.width / 2) {
    this.look(around - (around - this.from) / factor, this.width / factor);
  }

  whole() {
    this.look(0, this.extent);
  }

  // Move as far as it takes to see an op.
  reach({ start, end }) {
    if (start >= this.from && end <= this.from + this.width) return;
    this.look((start + end - this.width) / 2, this.width);
  }
}

// A wheel over a picture that nobody has clicked scrolls the page, as everywhere in a notebook.
function listenToZoom(area, board) {
  let press = null;
  const { view } = board, wheel = (event) => {
    if (!event.ctrlKey && !event.metaKey && !area.matches(":focus")) return;
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 33 : 1) * WHEEL), board.timeAt(event));
  };
  area.addEventListener("wheel", wheel, { passive: false });
  area.addEventListener("pointerdown", ({ button, clientX: x }) => (press = button ? null : { x, from: view.from }));
  area.addEventListener("pointermove", (event) => {
    if (!press || !event.buttons) return;
    const by = press.x - event.clientX;
    press.moved ||= Math.abs(by) > CLICK_PX;
    if (press.moved) view.look(press.from + by / board.size().scale, view.width);
  });
  area.addEventListener("click", (event) => press?.moved && event.stopImmediatePropagation(), { capture: true });
  area.addEventListener("dblclick", () => view.whole());
}
