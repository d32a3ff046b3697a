// Plays a collective (widget.py): the picture is the state before the first round, with everything to show.
const ROUND_S = 1.4, MOVING = 0.75, FINE = 100; // a round takes so long to play, and moves for that part of it
const MOST_LINES = 8; // messages that are told of before the others are counted
// Edges of a cell, as picture_grid.py has them.
const ARRIVED = ["var(--lab-strong)", 2.4], QUIET = ["var(--lab-quiet_ink)", 0.6];

// One cell, found once: it is painted many times.
function readCell(group) {
  const [rank, chunk] = group.dataset.cell.split(" ").map(Number), slots = [...group.querySelectorAll("[data-part]")];
  return { group, rank, chunk, slots, edge: group.querySelector("[pointer-events=all]"), text: group.querySelector("text") };
}

function paint(cell, label, edge) {
  for (const slot of cell.slots)
    slot.setAttribute("visibility", label.parts.includes(Number(slot.dataset.part)) ? "visible" : "hidden");
  cell.text.textContent = label.text;
  cell.text.setAttribute("font-weight", label.text.startsWith(WORDS.done) ? 700 : 400);
  cell.edge.style.stroke = edge[0];
  cell.edge.setAttribute("stroke-width", edge[1]);
}

function render({ model, el }) {
  const root = addCard(el, "rounds"), holder = add(root, "div", "lab-card-picture");
  const given = model.get("data"), data = { ...given, labels: given.labels.map((label) => ({ ...label })) };
  const last = data.messages.length, texts = data.labels.map(({ text }) => text);
  const pictures = [{ svg: model.get("svg"), texts }, ...model.get("narrower")];
  let cells = [], arrows = new Map(), moving = null;
  const cellAt = (rank, chunk) => cells[rank * data.chunks.length + chunk];
  const bar = new PlayBar(root, { label: WORDS.slider, last, fine: FINE, unit_s: ROUND_S, moved, describe });
  const says = addSays(root);
  let hovered = null, painted = null, carried = null, tokens = [];

  function draw(number) {
    const { svg } = readPicture(pictures[number].svg);
    holder.replaceChildren(svg);
    root.setAttribute("aria-label", `${svg.getAttribute("aria-label")} ${WORDS.keys}`);
    pictures[number].texts.forEach((text, label) => (data.labels[label].text = text));
    cells = [...svg.querySelectorAll("[data-cell]")].map(readCell);
    arrows = new Map([...svg.querySelectorAll("[data-arrows]")].map((group) => [Number(group.dataset.arrows), group]));
    moving = addShape(svg, "g", { class: "lab-rounds-moving" });
    hovered = painted = carried = null;
    tokens = [];
    bar.move(bar.at);
  }
  addKeyHelp(root, bar.row, WORDS.key_help);

  function lines() {
    const round = Math.floor(bar.at), under = Math.ceil(bar.at);
    if (hovered?.cell) {
      const { rank, chunk } = hovered.cell;
      const holding = data.labels[data.holds[round][rank][chunk]].said;
      return [fill(WORDS.cell, { rank, chunk: data.chunks[chunk] }), fill(WORDS.holds, { holding })];
    }
    if (hovered?.message) return [fill(WORDS.round, { round: under, last }), hovered.message.said];
    const sent = under ? data.messages[under - 1].map((message) => message.said) : [];
    const more = sent.length > MOST_LINES ? [fill(WORDS.more, { count: sent.length - MOST_LINES + 1 })] : [];
    return [...data.says[under], ...sent.slice(0, more.length ? MOST_LINES - 1 : MOST_LINES), ...more];
  }

  function describe() {
    tell(says, lines(), !bar.playing && !hovered);
  }

  // All cells as they are after so many rounds; what has just arrived stands out until the next round begins.
  function paintRound(round, moves) {
    if (painted === round + moves / 2) return;
    const came = moves ? [] : (data.messages[round - 1] ?? []);
    const arrived = new Set(came.flatMap((message) => message.chunks.map((chunk) => cellAt(message.dst, chunk))));
    for (const cell of cells)
      paint(cell, data.labels[data.holds[round][cell.rank][cell.chunk]], arrived.has(cell) ? ARRIVED : QUIET);
    painted = round + moves / 2;
  }

  // What travels in the round that is under way: copies of the senders' cells, holding what was sent.
  function carry(round) {
    if (carried === round) return;
    carried = round;
    tokens = (data.messages[round - 1] ?? []).flatMap((message) =>
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

  function moved(at) {
    const round = Math.floor(at), part = at - round, under = Math.ceil(at);
    paintRound(round, part > 0);
    carry(part ? under : null);
    const way = Math.min(1, part / MOVING), eased = way * way * (3 - 2 * way);
    for (const token of tokens) token.group.setAttribute("transform", `translate(0 ${token.by * eased})`);
    for (const [number, group] of arrows) group.setAttribute("visibility", number === under ? "visible" : "hidden");
    if (!part && model.get("round") !== round) {
      model.set("round", round);
      model.save_changes();
    }
    return under ? fill(WORDS.round, { round: under, last }) : WORDS.before;
  }

  // A button beside the play button.
  function addBeside(sign, label, act) {
    const button = addButton(bar.row, sign, act);
    button.setAttribute("aria-label", label);
    return button;
  }

  function markOf(target) {
    const group = target?.closest("[data-cell], [data-message]");
    if (!group) return null;
    if (group.dataset.cell) return { cell: cells.find((cell) => cell.group === group) };
    const round = Number(group.closest("[data-arrows]").dataset.arrows);
    return { message: data.messages[round - 1][Number(group.dataset.message)] };
  }

  const back = () => bar.go(Math.ceil(bar.at) - 1), forth = () => bar.go(Math.floor(bar.at) + 1);
  bar.button.before(addBeside("‹", WORDS.back, back));
  bar.button.after(addBeside("›", WORDS.on, forth));
  bar.slider.addEventListener("change", () => bar.go(Math.round(bar.at))); // let go between two rounds: the nearer one
  onPointed(holder, (node) => ((hovered = markOf(node)), describe()));
  onKeys(root, { ...bar.keys, ArrowLeft: back, ArrowRight: forth });
  const asked = () => model.get("round") !== Math.floor(bar.at) && bar.go(model.get("round"));
  model.on("change:round", asked);
  bar.at = model.get("round");
  const leave = onWidth(holder, pictures.map(({ svg }) => svg), draw);
  return () => {
    leave();
    bar.pause();
    model.off("change:round", asked);
  };
}

export default { render };
