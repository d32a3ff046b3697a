// Draws the state of RanksStatus (widget.py): a table of ranks, and a sentence that screen readers speak.
const COLUMNS = [
  ["rank", WORDS.rank], ["memory", WORDS.memory], ["doing", WORDS.doing], ["for", WORDS.for],
  ["waits", WORDS.waits_for],
];

function addRow(body) {
  const row = add(body, "tr");
  const cells = COLUMNS.map(([name], i) => add(row, i ? "td" : "th", `lab-status-${name}`));
  cells[0].scope = "row";
  const doing = add(cells[2], "div", "lab-status-marked");
  const mark = add(doing, "span", "lab-status-mark");
  mark.setAttribute("aria-hidden", "true"); // the words beside it say the same
  cells[2] = add(doing, "span");
  return { row, cells, mark };
}

const inTheme = (colour) => `var(--lab-${colour.slice(1)})`;

function drawMark(node, name, [character, ground, ink]) {
  node.dataset.mark = name;
  node.style.background = inTheme(ground);
  node.style.color = inTheme(ink);
  say(node, character);
}

function render({ model, el }) {
  const root = add(el, "div", "lab-card lab-status-card"), table = add(root, "table");
  const caption = add(table, "caption"), head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
  for (const [name, words] of COLUMNS) add(head, "th", `lab-status-${name}`, words, { scope: "col" });
  const says = add(root, "p", "lab-status-says", "", { role: "status", "aria-live": "polite" }), rows = [];
  const alive = new Alive(model, root, { act: () => draw() });

  function draw() {
    const { rows: wanted = [], says: sentence = "", alarm = false } = model.get("state"), marks = model.get("marks");
    say(caption, model.get("title"));
    while (rows.length > wanted.length) rows.pop().row.remove();
    while (rows.length < wanted.length) rows.push(addRow(body));
    wanted.forEach(([name, ...texts], i) => {
      drawMark(rows[i].mark, name, marks[name]);
      texts.forEach((text, column) => say(rows[i].cells[column], text));
    });
    says.classList.toggle("alarm", alarm && !alive.gone);
    say(says, alive.gone ? WORDS.last_seen : sentence);
  }
  model.on("change:state change:title", draw);
  draw();
  return () => {
    model.off("change:state change:title", draw);
    alive.leave();
  };
}

export default { render };
