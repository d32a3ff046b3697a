// Moves through the picture of GradientFlow (gradient_flow.py): play, scrub, hover, select a layer.
const NS = "http://www.w3.org/2000/svg";
const PLAY_S = 6, STEPS = 600; // a whole backward takes so long to play; positions of the slider

function add(parent, tag, name, content = "") {
  const node = document.createElement(tag);
  node.className = `lab-flow-${name}`;
  node.textContent = content;
  return parent.appendChild(node);
}

function addShape(parent, tag, attributes) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return parent.appendChild(node);
}

// The picture as Python drew it. What its marks say moves out of their titles: the browser would show it twice.
function readPicture(text) {
  const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  const said = new Map();
  for (const title of svg.querySelectorAll("rect > title")) {
    said.set(title.parentNode, title.textContent);
    title.remove();
  }
  return { svg, said };
}

function three(value) {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

// How far each rank is at a moment: gradients ready, and those that are back.
function progress(data, at_s) {
  return data.times.map((layers, rank) => {
    const mine = layers.filter((times) => times), sent = mine.filter(([, sent]) => sent !== null);
    const count = (list, which) => list.filter((times) => times[which] <= at_s).length;
    const back = sent.length ? `, ${count(sent, 2)} back` : "";
    return `rank ${rank}: ${count(mine, 0)} of ${mine.length} ready${back}`;
  });
}

function render({ model, el }) {
  const root = add(el, "div", "card"), stage = add(root, "div", "picture"), bar = add(root, "div", "bar");
  const button = add(bar, "button", "play"), slider = add(bar, "input", "time"), clock = add(bar, "span", "clock");
  const says = add(root, "div", "says");
  const data = model.get("data"), { svg, said } = readPicture(model.get("svg"));
  const moving = svg.querySelector("[data-part=time]"), rows = [...svg.querySelectorAll("[data-row]")];
  const name = `lab-flow-${Math.random().toString(36).slice(2)}`; // of this view: a page may hold several
  let at_s = data.end_s, playing = 0, hovered = null;

  stage.append(svg);
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrows for its cells
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `${svg.getAttribute("aria-label")} Up and down select a layer, space plays.`);
  says.setAttribute("role", "status");
  says.setAttribute("aria-live", "polite");
  button.type = "button";
  Object.assign(slider, { type: "range", min: 0, max: STEPS, value: STEPS });
  slider.setAttribute("aria-label", "time in the backward pass");
  const ghost = moving.cloneNode(true);
  ghost.setAttribute("class", "lab-flow-ghost");
  ghost.setAttribute("aria-hidden", "true");
  moving.before(ghost);
  const clip = addShape(addShape(svg, "clipPath", { id: name }), "rect", { x: 0, y: 0, height: data.bottom + 20, width: 0 });
  moving.setAttribute("clip-path", `url(#${name})`);
  const head = addShape(svg, "line", { class: "lab-flow-head", y1: data.top - 10, y2: data.bottom + 4 });

  function show(lines) {
    says.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  }

  function describe() {
    const row = hovered ?? rows[data.layers.indexOf(model.get("selected"))];
    says.setAttribute("aria-live", playing || hovered ? "off" : "polite"); // nobody wants to hear sixty a second
    show(row ? said.get(row).split("\n") : progress(data, at_s));
  }

  function move(to_s) {
    at_s = Math.max(0, Math.min(data.end_s, to_s));
    const part = data.end_s ? at_s / data.end_s : 1, x = data.left + part * (data.right - data.left);
    const over = part === 1; // a mark at the very end reaches beyond it
    clip.setAttribute("width", over ? data.right + 40 : x);
    for (const which of ["x1", "x2"]) head.setAttribute(which, x);
    root.classList.toggle("lab-flow-under-way", !over);
    slider.value = Math.round(part * STEPS);
    clock.textContent = `${three(at_s / data.unit[0])} ${data.unit[1]}`;
    slider.setAttribute("aria-valuetext", clock.textContent);
    root.dataset.at = at_s;
    describe();
  }

  function play(on) {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = on ? "❚❚ Pause" : "▶ Play";
    root.dataset.playing = on;
    if (!on) return describe();
    const from_s = at_s < data.end_s ? at_s : 0, began = performance.now();
    const frame = (now) => {
      playing = requestAnimationFrame(frame);
      move(from_s + ((now - began) / 1000 / PLAY_S) * data.end_s);
      if (at_s >= data.end_s) play(false);
    };
    playing = requestAnimationFrame(frame);
  }

  function mark() {
    const chosen = data.layers.indexOf(model.get("selected")), bucket = chosen < 0 ? null : data.buckets[chosen];
    rows.forEach((row, at) => row.classList.toggle("lab-flow-chosen", at === chosen));
    for (const bars of svg.querySelectorAll("[data-bucket]"))
      bars.classList.toggle("lab-flow-with", bucket !== null && bars.dataset.bucket === `${bucket}`);
    describe();
  }

  function select(at) {
    model.set("selected", data.layers[at] ?? "");
    model.save_changes();
  }

  function key(event) {
    const chosen = data.layers.indexOf(model.get("selected")), last = data.layers.length - 1;
    const actions = {
      ArrowDown: () => select(Math.min(last, chosen + 1)),
      ArrowUp: () => select(chosen < 0 ? last : Math.max(0, chosen - 1)),
      Escape: () => select(-1),
      " ": () => play(!playing),
      ArrowLeft: () => (play(false), move(at_s - data.end_s / 60)),
      ArrowRight: () => (play(false), move(at_s + data.end_s / 60)),
      Home: () => (play(false), move(0)),
      End: () => (play(false), move(data.end_s)),
    };
    if (!actions[event.key] || (event.target === button && event.key === " ")) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
    actions[event.key]();
  }

  const markOf = (event) => (said.has(event.target) ? event.target : null);
  svg.addEventListener("pointerover", (event) => ((hovered = markOf(event)), describe()));
  svg.addEventListener("pointerleave", () => ((hovered = null), describe()));
  svg.addEventListener("click", (event) => {
    const at = rows.indexOf(event.target);
    if (at >= 0) select(data.layers[at] === model.get("selected") ? -1 : at);
  });
  slider.addEventListener("input", () => (play(false), move((slider.value / STEPS) * data.end_s)));
  button.addEventListener("click", () => play(!playing));
  root.addEventListener("keydown", key);
  model.on("change:selected", mark);
  play(false);
  move(data.end_s);
  mark();
  return () => {
    cancelAnimationFrame(playing);
    model.off("change:selected", mark);
  };
}

export default { render };
