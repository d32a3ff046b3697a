// Pointer, wheel and keys on the picture. `stage` is what they act on (stage.js).

const WHEEL_ZOOM = 0.0018, KEY_ZOOM = 1.5, KEY_PAN = 0.15, CLICK = 4; // a press that moves less, in pixels, is a click

function listenToPointer(area, stage) {
  let press = null;
  area.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const at = pointIn(area, event);
    press = { ...at, select: event.shiftKey, view: stage.scene.view, moved: false };
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener("pointermove", (event) => {
    const at = pointIn(area, event);
    if (!press) return stage.hoverAt(at, event);
    press.moved ||= Math.hypot(at.x - press.x, at.y - press.y) >= CLICK;
    if (!press.moved) return;
    stage.leave();
    if (press.select) stage.stretch(press, at);
    else stage.pan(press.view, (press.x - at.x) / stage.scene.scale);
  });
  area.addEventListener("pointerup", (event) => {
    const at = pointIn(area, event), was = press;
    press = null;
    if (!was) return;
    if (!was.moved) stage.pick(at, event.shiftKey);
    else if (was.select) stage.choose(was, at);
  });
  area.addEventListener("pointercancel", () => (press = null, stage.stretch(null)));
  area.addEventListener("pointerleave", () => stage.leave());
  area.addEventListener("dblclick", () => stage.whole());
}

function pointIn(area, event) {
  const box = area.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

// A wheel turned over a picture that nobody has clicked scrolls the page, as everywhere in a notebook.
function listenToWheel(area, stage) {
  const wheel = (event) => {
    const mine = event.ctrlKey || event.metaKey || area.matches(":focus");
    if (!mine) return;
    event.preventDefault();
    const unit = event.deltaMode ? 33 : 1, { view, scale } = stage.scene;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) return stage.pan(view, (event.deltaX * unit) / scale);
    stage.zoom(Math.exp(-event.deltaY * unit * WHEEL_ZOOM), stage.scene.time(pointIn(area, event).x));
  };
  area.addEventListener("wheel", wheel, { passive: false });
}

function listenToKeys(area, stage) {
  const along = (part) => {
    const { view } = stage.scene;
    stage.pan(view, part * (view.to - view.from));
  };
  const keys = {
    ArrowLeft: () => along(-KEY_PAN), ArrowRight: () => along(KEY_PAN),
    "+": () => stage.zoom(KEY_ZOOM), "=": () => stage.zoom(KEY_ZOOM), "-": () => stage.zoom(1 / KEY_ZOOM),
    0: () => stage.whole(), Home: () => stage.whole(),
    n: () => stage.step(1), p: () => stage.step(-1),
    ArrowDown: () => stage.stepLane(1), ArrowUp: () => stage.stepLane(-1),
    Enter: () => stage.pickHovered(), Escape: () => stage.clear(), " ": () => stage.togglePlay(),
  };
  area.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
