// Shows the picture of NormMap (widget.py) as it grows, and reads out the norm under the pointer or the arrow keys.
const FINDINGS = 4;

function sayNumber(value) {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? `${+value.toPrecision(3)}` : "infinite";
}

// A norm in words: layer, step, value, and what is wrong with it.
function sayCell(state, words, [layer, step]) {
  const at = layer * state.steps.length + step, wrong = state.states.getUint8(at);
  const value = sayNumber(state.values.getFloat32(4 * at, true));
  return `${state.layers[layer]} at step ${state.steps[step]}: ${value}${wrong === 1 || wrong === 2 ? `, ${words[wrong]}` : ""}`;
}

// The first findings; all of them are in the picture's description.
function sayFindings(found) {
  const more = found.length - FINDINGS;
  return [...found.slice(0, FINDINGS), ...(more > 0 ? [`and ${more} more`] : [])].join(" · ") || "nothing stands out";
}

function render({ model, el }) {
  const root = addCard(el, "norms"), picture = add(root, "div", "lab-card-picture"), says = addSays(root);
  let cell = null, svg = null, frame = null;

  function draw() {
    const state = model.get("state");
    root.setAttribute("aria-label", `${model.get("title")}: arrow keys read out norms`);
    root.dataset.steps = state.steps?.length ?? 0;
    if (!state.svg) return tell(says, ["waiting for the first step"]);
    svg = readPicture(state.svg).svg;
    frame = addShape(svg, "rect", { class: "lab-norms-frame" });
    picture.replaceChildren(svg);
    point(cell && [Math.min(cell[0], state.layers.length - 1), Math.min(cell[1], state.steps.length - 1)]);
  }

  // Frame a cell and read it out; without one, say what was found.
  function point(to) {
    if (!svg) return;
    const state = model.get("state");
    cell = to;
    frame.style.display = cell ? "inline" : "none";
    tell(says, [cell ? sayCell(state, model.get("words"), cell) : sayFindings(state.says)]);
    if (!cell) return;
    const width = (state.right - state.left) / state.steps.length;
    const box = { x: state.left + cell[1] * width, y: state.top + cell[0] * state.row, width, height: state.row };
    for (const [name, value] of Object.entries(box)) frame.setAttribute(name, value);
  }

  function under(event) {
    const { left, right, top, row, layers, steps } = model.get("state");
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const found = [Math.floor((y - top) / row), Math.floor(((x - left) / (right - left)) * steps.length)];
    const inside = found[0] >= 0 && found[0] < layers.length && found[1] >= 0 && found[1] < steps.length;
    return inside ? found : null;
  }

  function go(down, right) {
    if (!svg) return;
    const { layers, steps } = model.get("state");
    const [layer, step] = cell ?? [down < 0 ? layers.length : -down, steps.length - 1 - right]; // enters at the last step
    const within = (at, count) => Math.max(0, Math.min(count - 1, at));
    point([within(layer + down, layers.length), within(step + right, steps.length)]);
  }

  picture.addEventListener("pointermove", (event) => point(under(event)));
  picture.addEventListener("pointerleave", () => point(null));
  onKeys(root, {
    ArrowUp: () => go(-1, 0), ArrowDown: () => go(1, 0), ArrowLeft: () => go(0, -1), ArrowRight: () => go(0, 1),
    Escape: () => point(null),
  });
  model.on("change:state change:title", draw);
  draw();
  return () => model.off("change:state change:title", draw);
}

export default { render };
