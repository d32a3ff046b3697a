// Moves through the picture of GradientFlow (widget.py): play, scrub, hover, select a layer.
const PLAY_S = 6, POSITIONS = 600, KEY = 1 / 60; // a whole backward takes so long to play; the slider's; an arrow key's

function three(value) {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

// How far each rank is at a moment: gradients ready, and those that are back.
function progress(data, at_s) {
  return data.times.map((layers, rank) => {
    const mine = layers.map((times, at) => ({ times, gradients: data.gradients[rank][at] })).filter(({ times }) => times);
    const sent = mine.filter(({ times }) => times[1] !== null), sum = (list) => list.reduce((n, one) => n + one.gradients, 0);
    const until = (list, which) => sum(list.filter(({ times }) => times[which] <= at_s));
    const values = { rank, ready: until(mine, 0), count: sum(mine), back: until(sent, 2) };
    return fill(sent.length ? WORDS.ready_and_back : WORDS.ready, values);
  });
}

// What hides the part of the picture that has not happened yet, over a ghost of it; returns what moves it, 0 to 1.
function addCurtain(svg, place) {
  const moving = svg.querySelector("[data-part=time]"), ghost = moving.cloneNode(true);
  const name = `lab-flow-${Math.random().toString(36).slice(2)}`; // of this view: a page may hold several
  ghost.setAttribute("class", "lab-flow-ghost");
  ghost.setAttribute("aria-hidden", "true");
  moving.before(ghost);
  const clip = addShape(addShape(svg, "clipPath", { id: name }), "rect", { x: 0, y: 0, height: place.bottom + 20, width: 0 });
  moving.setAttribute("clip-path", `url(#${name})`);
  const head = addShape(svg, "line", { class: "lab-flow-head", y1: place.top - 10, y2: place.bottom + 4 });
  return (at) => {
    const x = place.left + at * (place.right - place.left);
    clip.setAttribute("width", at === 1 ? place.right + 40 : x); // a mark at the very end reaches beyond it
    for (const which of ["x1", "x2"]) head.setAttribute(which, x);
  };
}

function render({ model, el }) {
  const root = addCard(el, "flow"), holder = add(root, "div", "lab-card-picture");
  const data = model.get("data"), pictures = [{ svg: model.get("svg"), ...data }, ...model.get("narrower")];
  let said = new Map(), rows = [], curtain = () => {}, hovered = null;
  // The bar goes from 0, where the backward begins, to 1.
  const bar = new PlayBar(root, {
    label: WORDS.slider, last: 1, fine: POSITIONS, unit_s: PLAY_S, moved, describe,
  });
  const says = addSays(root), last = data.layers.length - 1;

  function draw(number) {
    const picture = readPicture(pictures[number].svg), { svg } = picture;
    said = picture.said;
    hovered = null;
    holder.replaceChildren(svg);
    root.setAttribute("aria-label", `${svg.getAttribute("aria-label")} ${WORDS.keys}`);
    rows = [...svg.querySelectorAll("[data-row]")];
    curtain = addCurtain(svg, pictures[number]);
    bar.move(bar.at);
    mark();
  }
  addKeyHelp(root, bar.row, WORDS.key_help);

  const chosen = () => data.layers.indexOf(model.get("selected"));

  function describe() {
    const row = hovered ?? rows[chosen()];
    tell(says, row ? said.get(row).split("\n") : progress(data, bar.at * data.end_s), !bar.playing && !hovered);
  }

  function moved(at) {
    curtain(at);
    root.classList.toggle("lab-flow-under-way", at < 1);
    return `${three((at * data.end_s) / data.unit[0])} ${data.unit[1]}`;
  }

  function mark() {
    const bucket = data.buckets[chosen()] ?? null;
    rows.forEach((row, at) => row.classList.toggle("lab-flow-chosen", at === chosen()));
    for (const bars of holder.querySelectorAll("[data-bucket]"))
      bars.classList.toggle("lab-flow-with", bucket !== null && bars.dataset.bucket === `${bucket}`);
    describe();
  }

  function select(at) {
    model.set("selected", data.layers[at] ?? "");
    model.save_changes();
  }

  onPointed(holder, (node) => ((hovered = said.has(node) ? node : null), describe()));
  holder.addEventListener("click", (event) => {
    const at = rows.indexOf(event.target);
    if (at >= 0) select(at === chosen() ? -1 : at);
  });
  onKeys(root, {
    ...bar.keys,
    ArrowDown: () => select(Math.min(last, chosen() + 1)),
    ArrowUp: () => select(chosen() < 0 ? last : Math.max(0, chosen() - 1)),
    Escape: () => select(-1),
    ArrowLeft: () => bar.go(bar.at - KEY),
    ArrowRight: () => bar.go(bar.at + KEY),
  });
  model.on("change:selected", mark);
  bar.at = 1;
  const leave = onWidth(holder, pictures.map(({ svg }) => svg), draw);
  return () => {
    leave();
    bar.pause();
    model.off("change:selected", mark);
  };
}

export default { render };
