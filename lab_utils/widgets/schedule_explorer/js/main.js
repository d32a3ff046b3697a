// ScheduleExplorer (widget.py): the card, and what travels between it and Python.

const HOW = "Point at a pause or an op, or focus the picture and use the arrow keys; + and − zoom, 0 shows all.";

function render({ model, el }) {
  const about = model.get("_about"), root = add(el, "div", "card", "", { role: "group" });
  for (const [name, color] of Object.entries(about.style.colors)) root.style.setProperty(`--lab-sx-${name}`, color);
  const choose = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };
  const title = add(root, "div", "title"), controls = new Controls(root, about, model, choose);
  const wrong = add(root, "div", "wrong", "", { role: "status", "aria-live": "assertive" });
  const searching = new Searching(root, model, choose);
  const marked = (item, pointed) => {
    says.setAttribute("aria-live", pointed ? "off" : "polite"); // a pointer passes over many
    say(says, item ? board.told(item) : HOW);
    before.disabled = board.at?.op === undefined;
    if (!pointed) hand.follow(model.get("_drawn"));
  };
  const key = (event) => hand.key(event);
  const board = new Board(root, about.style, { label: "The schedule in time", marked, key });
  const says = add(root, "div", "says", HOW, { role: "status" });
  const hand = new Hand(root, about, model, choose, board);
  const row = add(root, "div", "row");
  const apart = { title: "Take this order apart: undo goes back" };
  const whole = addButton(row, "Go on by hand", () => choose({ _from_op: -1 }), apart);
  const keeps = { title: "Keep what starts before the op that is marked, and go on by hand" };
  const before = addButton(row, "By hand from the marked op", () => choose({ _from_op: board.at.op }), keeps);
  const zooms = [["+", "Zoom in", () => board.view.zoom(ZOOM)], ["−", "Zoom out", () => board.view.zoom(1 / ZOOM)]];
  for (const [sign, words, act] of zooms) addButton(row, sign, act, { title: words, "aria-label": words });
  const remark = add(root, "div", "remark", "", { role: "status" }), numbers = add(root, "table", "numbers");
  const fits = add(root, "div", "fits", "", { role: "status" }), chunks = addLegend(root, about.style);
  const figures = new Figures(root, about, model, choose);

  function follow() {
    const drawn = model.get("_drawn"), boxes = boxesOf(model.get("_boxes"));
    say(title, drawn.title);
    root.setAttribute("aria-label", `Schedule explorer. ${drawn.title}`);
    board.show({ extent: drawn.makespan, ...drawn, boxes });
    fillNumbers(numbers, drawn.facts);
    say(fits, drawn.fits);
    fits.classList.toggle("lab-sx-wrong", drawn.fits.startsWith("It does not"));
    say(remark, drawn.remark ?? "");
    chunks.hidden = !drawn.chunks.some((chunk) => chunk);
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
    [["change:choice change:text change:stage_layout change:moves", ...settings].join(" "), () => controls.follow()],
    ["change:moves change:choice", () => hand.follow(model.get("_drawn"))],
    ["change:_ran change:_ran_boxes", () => figures.follow()],
    ["change:_searching", () => searching.follow()],
  ];
  for (const [names, act] of listeners) model.on(names, act);
  say(wrong, model.get("says"));
  follow();
  figures.follow();
  searching.follow();
  return () => {
    for (const [names, act] of listeners) model.off(names, act);
    gone = true;
    board.leave();
    figures.leave();
  };
}

function fillNumbers(table, facts) {
  if (!table.rows.length) {
    for (const [name, , meaning] of facts) {
      const row = table.insertRow();
      add(row, "th", "", name, { scope: "row" });
      add(row, "td", "number");
      add(row, "td", "quiet", meaning);
    }
  }
  facts.forEach(([, value, meaning], at) => {
    say(table.rows[at].cells[1], value);
    say(table.rows[at].cells[2], meaning);
  });
}

// Swatches, painted as the picture is; returns the entry for what only some orders have.
function addLegend(parent, style) {
  const list = add(parent, "ul", "legend", "", { "aria-label": "Legend" });
  [...style.meanings, "idle"].forEach((meaning, kind) => {
    const entry = add(list, "li"), canvas = add(entry, "canvas", "", "", { "aria-hidden": "true" });
    const surface = new Surface(canvas, style);
    surface.clear(20, 11);
    surface.box(surface.fills[kind] ?? style.colors.lane, 0, 0, 20, 11);
    add(entry, "span", "", meaning);
  });
  return add(list, "li", "quiet", "a line under an op: a rank's second chunk, two lines: its third");
}

export { boxesOf, render };
export default { render };
