// ScheduleExplorer (widget.py): the card, and what travels between it and Python.

function render({ model, el }) {
  const theme = new Theme(model.get("_about").style), about = { ...model.get("_about"), style: theme.style };
  const root = add(el, "div", "lab-card card", "", { role: "group" });
  const choose = (changes) => {
    if (alive.gone) return;
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const title = add(root, "div", "title"), alive = new Alive(model, root), levels = new Levels(root, about, model, choose);
  const controls = new Controls(root, about, model, choose);
  const wrong = add(root, "div", "wrong", "", { role: "status", "aria-live": "assertive" });
  const searching = new Searching(root, model, choose);
  const marked = (item, pointed) => {
    says.setAttribute("aria-live", pointed ? "off" : "polite"); // a pointer passes over many
    say(says, item ? board.told(item) : WORDS.how);
    before.disabled = board.at?.op === undefined;
    if (!pointed) hand.follow(model.get("_drawn"));
  };
  const key = (event) => hand.key(event);
  const board = new Board(root, about.style, { label: WORDS.board, marked, key });
  const says = add(root, "div", "says", WORDS.how, { role: "status" });
  const hand = new Hand(root, about, model, choose, board);
  const row = add(root, "div", "row");
  const whole = addButton(row, WORDS.go_on, () => choose({ _from_op: -1 }), { title: WORDS.go_on_tip });
  const keeps = { title: WORDS.from_marked_tip };
  const before = addButton(row, WORDS.from_marked, () => choose({ _from_op: board.at.op }), keeps);
  for (const [sign, words, factor] of [["+", WORDS.zoom_in, ZOOM], ["−", WORDS.zoom_out, 1 / ZOOM]])
    addButton(row, sign, () => board.view.zoom(factor), { ...labelled(words), ...LOCAL });
  addKeyHelp(root, row, WORDS.key_help);
  const paints = [...about.style.meanings.entries(), [null, WORDS.idle]];
  const remark = add(root, "div", "remark", "", { role: "status" }), numbers = add(root, "div", "numbers", "", { role: "list" });
  const fits = add(root, "div", "fits", "", { role: "status" });
  const lines = addLegend(root, WORDS.legend, paints, about.style, WORDS.lines);
  const figures = new Figures(root, about, model, choose);

  function follow() {
    const drawn = model.get("_drawn"), boxes = boxesOf(model.get("_boxes"));
    say(title, drawn.title);
    root.setAttribute("aria-label", fill(WORDS.explorer, { title: drawn.title }));
    board.show({ extent: drawn.makespan, ...drawn, boxes });
    levels.follow(drawn);
    fillNumbers(numbers, drawn.facts);
    say(fits, drawn.fits);
    fits.classList.toggle("lab-sx-wrong", drawn.over.length > 0);
    say(remark, drawn.remark ?? "");
    remark.classList.toggle("lab-sx-reached", Boolean(drawn.reached));
    lines.hidden = !drawn.nth_on_rank.some((nth) => nth);
    whole.hidden = model.get("choice") === "hand";
    marked(board.at, false);
  }

  let waits = false, gone = false; // picture and boxes come in one message, as two changes
  const later = () => {
    if (!waits) queueMicrotask(() => ((waits = false), gone || follow()));
    waits = true;
  };
  const settings = SLIDERS.map(({ name }) => `change:${name}`);
  const listeners = [
    ["change:_drawn change:_boxes", later],
    ["change:says", () => say(wrong, model.get("says"))],
    [["change:choice change:text change:stage_layout change:moves change:level", ...settings].join(" "),
      () => controls.follow()],
    ["change:solved change:level", () => levels.follow(model.get("_drawn"))],
    ["change:moves change:choice", () => hand.follow(model.get("_drawn"))],
    ["change:_ran change:_ran_boxes", () => figures.follow()],
    ["change:_searching", () => searching.follow()],
    ["change:_answered", () => queueMicrotask(() => gone || hand.turns.go())],
  ];
  for (const [names, act] of listeners) model.on(names, act);
  say(wrong, model.get("says"));
  follow();
  figures.follow();
  searching.follow();
  return () => {
    for (const [names, act] of listeners) model.off(names, act);
    gone = true;
    theme.leave();
    alive.leave();
    board.leave();
    figures.leave();
  };
}

// Beside each other: name, number, and what it means.
function fillNumbers(list, facts) {
  while (list.children.length < facts.length) {
    const one = add(list, "div", "", "", { role: "listitem" });
    for (const name of ["quiet", "number", "quiet"]) add(one, "div", name);
  }
  facts.forEach((fact, at) => fact.forEach((words, part) => say(list.children[at].children[part], words)));
}

// Swatches, painted as the picture is; returns the entry for what only some orders have.
export { boxesOf, render };
export default { render };
