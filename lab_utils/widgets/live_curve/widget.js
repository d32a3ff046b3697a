// Draws the state of LiveCurve (widget.py): a progress bar, words, and the loss as an SVG line.
const WIDEST = 720, HEIGHT = 240, LEFT = 56, TOP = 12, BOTTOM = 204;

// Multiples of 1, 2 or 5 × 10^k, the first at most low, the last at least high.
function ticks(low, high, most = 5) {
  const { step } = roundStep(high - low, most), values = [];
  for (let k = Math.floor(low / step + 1e-9); ; k++) {
    values.push(+(k * step).toPrecision(12));
    if (k * step >= high - 1e-9 * step) return values;
  }
}

function seconds(value) {
  if (value < 60) return fill(WORDS.seconds, { seconds: value.toFixed(value < 10 ? 1 : 0) });
  return fill(WORDS.minutes, { minutes: Math.floor(value / 60), seconds: Math.round(value % 60) });
}

function words(steps, { done, loss, elapsed_s: elapsed, left_s: left, running }) {
  if (!done) return fill(WORDS.waiting, { steps });
  const parts = [fill(WORDS.step, { step: done, steps }), fill(WORDS.loss, { loss })];
  parts.push(fill(WORDS.elapsed, { time: seconds(elapsed) }));
  if (running && left !== null) parts.push(fill(WORDS.left, { time: seconds(left) }));
  if (!running) parts.push(done >= steps ? WORDS.done : WORDS.ended_early);
  return parts.join(" · ");
}

function curveText(points) {
  if (!points.length) return WORDS.empty_curve;
  const [first, last] = [points[0], points.at(-1)].map(([, loss]) => loss.toFixed(2));
  return fill(WORDS.curve, { first, last });
}

function drawCurve(svg, steps, points) {
  const width = Math.min(svg.clientWidth || WIDEST, WIDEST), right = width - 12; // words keep their size in narrow cards
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  const losses = points.map(([, loss]) => loss);
  const low = losses.length ? Math.min(...losses) : 0, high = losses.length ? Math.max(...losses) : 1;
  const ys = ticks(low, Math.max(high, low + 1e-3 * Math.abs(low), low + 1e-9));
  const x = (step) => LEFT + (step / Math.max(1, steps - 1)) * (right - LEFT);
  const y = (loss) => BOTTOM - ((loss - ys[0]) / (ys.at(-1) - ys[0])) * (BOTTOM - TOP);
  for (const loss of ys) {
    addShape(svg, "line", { class: "grid", x1: LEFT, x2: right, y1: y(loss), y2: y(loss) });
    if (losses.length) addShape(svg, "text", { x: LEFT - 8, y: y(loss) + 4, "text-anchor": "end" }, `${loss}`);
  }
  for (const step of ticks(0, Math.max(1, steps - 1), width / 90).filter((step) => step < steps)) {
    addShape(svg, "text", { x: x(step), y: BOTTOM + 18, "text-anchor": "middle" }, `${step}`);
  }
  const centred = { "text-anchor": "middle" }, middle = (TOP + BOTTOM) / 2, transform = `rotate(-90 12 ${middle})`;
  addShape(svg, "text", { x: (LEFT + right) / 2, y: HEIGHT - 2, ...centred }, WORDS.step_axis);
  addShape(svg, "text", { transform, x: 12, y: middle, ...centred }, WORDS.loss_axis);
  if (!points.length) return;
  const placed = points.map(([step, loss]) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`);
  addShape(svg, "polyline", { class: "line", points: placed.join(" ") });
  const [step, loss] = points.at(-1);
  addShape(svg, "circle", { class: "last", cx: x(step), cy: y(loss), r: 4 });
}

function render({ model, el }) {
  const root = add(el, "div", "lab-card lab-live-card"), title = add(root, "div", "lab-live-title");
  const bar = add(root, "div", "lab-live-bar"), filled = add(bar, "div", "lab-live-filled");
  const line = add(root, "div", "lab-live-words");
  const alive = new Alive(model, root, {
    act: () => draw(), needs: () => model.get("state").running !== false,
  });
  const svg = addShape(root, "svg", { role: "img" });
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", 0);

  function draw() {
    const steps = model.get("steps"), state = model.get("state"), points = state.points ?? [];
    title.textContent = model.get("title");
    bar.setAttribute("aria-label", fill(WORDS.training_steps, { title: model.get("title") }));
    bar.setAttribute("aria-valuemax", steps);
    bar.setAttribute("aria-valuenow", Math.min(state.done ?? 0, steps));
    line.textContent = words(steps, { ...state, running: state.running && !alive.gone });
    bar.setAttribute("aria-valuetext", line.textContent);
    filled.style.width = `${Math.min(100, (100 * (state.done ?? 0)) / steps)}%`;
    root.dataset.done = state.done ?? 0;
    svg.setAttribute("aria-label", curveText(points));
    drawCurve(svg, steps, points);
  }
  model.on("change:state change:steps change:title", draw);
  const watch = new ResizeObserver(draw);
  watch.observe(root);
  draw();
  return () => {
    watch.disconnect();
    model.off("change:state change:steps change:title", draw);
    alive.leave();
  };
}

export default { render };
