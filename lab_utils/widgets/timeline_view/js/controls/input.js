// Pointer, wheel and keys on the picture. `chart` is what they act on (chart.js).

const WHEEL_ZOOM = 0.0018, KEY_ZOOM = 1.5, KEY_PAN = 0.15, CLICK = 4; // a press that moves less, in pixels, is a click

function listenToPointer(area, chart) {
  let press = null;
  area.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const at = pointIn(area, event);
    press = { ...at, select: event.shiftKey, view: chart.scene.view, moved: false };
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    const at = pointIn(area, event);
    if (!press) return chart.hoverAt(at, event);
    press.moved ||= Math.hypot(at.x - press.x, at.y - press.y) >= CLICK;
    if (!press.moved) return;
    chart.leave();
    if (press.select) chart.stretch(press, at);
    else chart.pan(press.view, (press.x - at.x) / chart.scene.scale);
  });
  area.addEventListener("pointerup", (event) => {
    const at = pointIn(area, event), was = press;
    press = null;
    if (!was) return;
    if (!was.moved) chart.pick(at, event.shiftKey);
    else if (was.select) chart.choose(was, at);
  });
  area.addEventListener("pointercancel", () => (press = null, chart.stretch(null)));
  area.addEventListener("pointerleave", () => chart.leave());
  area.addEventListener("dblclick", () => chart.whole());
}

function pointIn(area, event) {
  const box = area.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

// A wheel turned over a picture that nobody has clicked scrolls the page, as everywhere in a notebook.
function listenToWheel(area, chart) {
  const wheel = (event) => {
    const mine = event.ctrlKey || event.metaKey || area.matches(":focus");
    if (!mine) return;
    event.preventDefault();
    const unit = event.deltaMode ? 33 : 1, { view, scale } = chart.scene;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return chart.pan(view, (event.deltaX * unit) / scale);
    chart.zoom(Math.exp(-event.deltaY * unit * WHEEL_ZOOM), chart.scene.time(pointIn(area, event).x));
  };
  area.addEventListener("wheel", wheel, { passive: false });
}

function listenToKeys(area, chart) {
  const along = (part) => {
    const { view } = chart.scene;
    chart.pan(view, part * (view.to - view.from));
  };
  const keys = {
    ArrowLeft: () => along(-KEY_PAN), ArrowRight: () => along(KEY_PAN),
    "+": () => chart.zoom(KEY_ZOOM), "=": () => chart.zoom(KEY_ZOOM), "-": () => chart.zoom(1 / KEY_ZOOM),
    0: () => chart.whole(), Home: () => chart.whole(),
    n: () => chart.step(1), p: () => chart.step(-1),
    ArrowDown: () => chart.stepLane(1), ArrowUp: () => chart.stepLane(-1),
    Enter: () => chart.pickHovered(), Escape: () => chart.clear(), " ": () => chart.togglePlay(),
  };
  area.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
