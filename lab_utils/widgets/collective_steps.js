// Plays a collective (collective_steps.py): the picture is the state before the first step, with everything to show.
const NS = "http://www.w3.org/2000/svg";
const STEP_S = 1.4, MOVING = 0.75, FINE = 100; // a step takes so long to play, and moves for that part of it
const MOST_LINES = 8; // messages that are told of before the others are counted
const ARRIVED = ["#d55e00", 2.4], QUIET = ["#57606a", 0.6]; // edges of a cell, as looks.py and palette.py have them

function add(parent, tag, name, content = "") {
  const node = document.createElement(tag);
  node.className = `lab-steps-${name}`;
  node.textContent = content;
  return parent.appendChild(node);
}

// The picture as Python drew it; titles come out, or the browser would show them beside what we say.
function readPicture(text) {
  const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  for (const title of svg.querySelectorAll("g title")) title.remove();
  return svg;
}

// One cell, found once: it is painted many times.
function readCell(group) {
  const [rank, chunk] = group.dataset.cell.split(" ").map(Number), slots = [...group.querySelectorAll("[data-part]")];
  return { group, rank, chunk, slots, edge: group.querySelector("[pointer-events=all]"), text: group.querySelector("text") };
}

function paint(cell, label, edge) {
  for (const slot of cell.slots)
    slot.setAttribute("visibility", label.parts.includes(Number(slot.dataset.part)) ? "visible" : "hidden");
  cell.text.textContent = label.text;
  cell.text.setAttribute("font-weight", label.text.startsWith("✓") ? 700 : 400);
  cell.edge.setAttribute("stroke", edge[0]);
  cell.edge.setAttribute("stroke-width", edge[1]);
}

function render({ model, el }) {
  const root = add(el, "div", "card"), stage = add(root, "div", "picture"), bar = add(root, "div", "bar");
  const back = add(bar, "button", "button", "‹"), button = add(bar, "button", "button lab-steps-play");
  const forth = add(bar, "button", "button", "›"), slider = add(bar, "input", "time"), clock = add(bar, "span", "clock");
  const says = add(root, "div", "says");
  const data = model.get("data"), svg = readPicture(model.get("svg")), last = data.messages.length;
  const cells = [...svg.querySelectorAll("[data-cell]")].map(readCell);
  const arrows = new Map([...svg.querySelectorAll("[data-arrows]")].map((group) => [Number(group.dataset.arrows), group]));
  const cellAt = (rank, chunk) => cells[rank * data.chunks.length + chunk];
  const moving = svg.appendChild(document.createElementNS(NS, "g"));
  let at = 0, playing = 0, hovered = null, painted = null, carried = null, tokens = [];

  stage.append(svg);
  moving.setAttribute("class", "lab-steps-moving");
  root.tabIndex = 0;
  root.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrows for its cells
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `${svg.getAttribute("aria-label")} Left and right go a step back and on, space plays.`);
  says.setAttribute("role", "status");
  for (const [node, name] of [[back, "a step back"], [forth, "a step on"]]) node.setAttribute("aria-label", name);
  for (const node of [back, button, forth]) node.type = "button";
  Object.assign(slider, { type: "range", min: 0, max: last * FINE, value: 0 });
  slider.setAttribute("aria-label", "steps of the collective");

  function lines() {
    const step = Math.floor(at), under = at > step ? step + 1 : step;
    if (hovered?.cell) {
      const { rank, chunk } = hovered.cell;
      return [`rank ${rank}, ${data.chunks[chunk]}`, `holds ${data.labels[data.holds[step][rank][chunk]].said}`];
    }
    if (hovered?.message) return [`step ${under} of ${last}`, hovered.message.said];
    const sent = under ? data.messages[under - 1].map((message) => message.said) : [];
    const more = sent.length > MOST_LINES ? [`… and ${sent.length - MOST_LINES + 1} more messages`] : [];
    return [...data.says[under], ...sent.slice(0, more.length ? MOST_LINES - 1 : MOST_LINES), ...more];
  }

  function describe() {
    says.setAttribute("aria-live", playing || hovered ? "off" : "polite");
    says.replaceChildren(...lines().map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  }

  // All cells as they are after so many steps; what has just arrived stands out until the next step begins.
  function paintStep(step, moves) {
    if (painted === step + moves / 2) return;
    const came = moves ? [] : (data.messages[step - 1] ?? []);
    const arrived = new Set(came.flatMap((message) => message.chunks.map((chunk) => cellAt(message.dst, chunk))));
    for (const cell of cells)
      paint(cell, data.labels[data.holds[step][cell.rank][cell.chunk]], arrived.has(cell) ? ARRIVED : QUIET);
    painted = step + moves / 2;
  }

  // What travels in the step that is under way: copies of the senders' cells, holding what was sent.
  function carry(step) {
    if (carried === step) return;
    carried = step;
    tokens = (data.messages[step - 1] ?? []).flatMap((message) =>
      message.chunks.map((chunk, i) => {
        const from = cellAt(message.src, chunk), to = cellAt(message.dst, chunk);
        const token = readCell(from.group.cloneNode(true));
        delete token.group.dataset.cell;
        paint(token, data.labels[message.labels[i]], ARRIVED);
        token.by = to.edge.y.baseVal.value - from.edge.y.baseVal.value;
        return token;
      }),
    );
    moving.replaceChildren(...tokens.map((token) => token.group));
  }

  function move(to) {
    at = Math.max(0, Math.min(last, to));
    const step = Math.floor(at), part = at - step, under = part ? step + 1 : step;
    paintStep(step, part > 0);
    carry(part ? under : null);
    const way = Math.min(1, part / MOVING), eased = way * way * (3 - 2 * way);
    for (const token of tokens) token.group.setAttribute("transform", `translate(0 ${token.by * eased})`);
    for (const [number, group] of arrows) group.setAttribute("visibility", number === under ? "visible" : "hidden");
    slider.value = Math.round(at * FINE);
    clock.textContent = under ? `step ${under} of ${last}` : "before";
    slider.setAttribute("aria-valuetext", clock.textContent);
    root.dataset.at = at;
    describe();
    if (!part && model.get("step") !== step) {
      model.set("step", step);
      model.save_changes();
    }
  }

  function play(on) {
    cancelAnimationFrame(playing);
    playing = 0;
    button.textContent = on ? "❚❚ Pause" : "▶ Play";
    root.dataset.playing = on;
    if (!on) return describe();
    const from = at < last ? at : 0, began = performance.now();
    const frame = (now) => {
      playing = requestAnimationFrame(frame);
      move(from + Math.max(0, now - began) / 1000 / STEP_S);
      if (at >= last) play(false);
    };
    playing = requestAnimationFrame(frame);
  }

  function go(to) {
    play(false);
    move(to);
  }

  const before = () => go(Math.ceil(at) - 1), after = () => go(Math.floor(at) + 1);

  function key(event) {
    const actions = {
      ArrowLeft: before, ArrowRight: after, Home: () => go(0), End: () => go(last), " ": () => play(!playing),
    };
    if (!actions[event.key] || (event.key === " " && event.target.tagName === "BUTTON")) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
    actions[event.key]();
  }

  function markOf(target) {
    const group = target.closest("[data-cell], [data-message]");
    if (!group) return null;
    if (group.dataset.cell) return { cell: cells.find((cell) => cell.group === group) };
    const step = Number(group.closest("[data-arrows]").dataset.arrows);
    return { message: data.messages[step - 1][Number(group.dataset.message)] };
  }

  svg.addEventListener("pointerover", (event) => ((hovered = markOf(event.target)), describe()));
  svg.addEventListener("pointerleave", () => ((hovered = null), describe()));
  slider.addEventListener("input", () => go(slider.value / FINE));
  slider.addEventListener("change", () => go(Math.round(at))); // let go between two steps: the nearer one
  button.addEventListener("click", () => play(!playing));
  back.addEventListener("click", before);
  forth.addEventListener("click", after);
  root.addEventListener("keydown", key);
  const asked = () => model.get("step") !== Math.floor(at) && go(model.get("step"));
  model.on("change:step", asked);
  play(false);
  move(model.get("step"));
  return () => {
    cancelAnimationFrame(playing);
    model.off("change:step", asked);
  };
}

export default { render };
