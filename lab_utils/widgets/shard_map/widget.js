// Looks into the pictures of ShardMap (widget.py): one a kind; hover, select a tensor, all by keyboard too.

function render({ model, el }) {
  const root = addCard(el, "shards"), bar = add(root, "div", "lab-shards-kinds"), holder = add(root, "div", "lab-card-picture");
  const says = addSays(root), pages = model.get("pages"), kinds = pages.map(([kind]) => kind);
  const buttons = pages.map(([, name], number) => addButton(bar, name, () => show(number)));
  const pictures = [pages.map(([, , svg]) => svg), ...model.get("narrower")]; // for each width, of each page
  let fits = 0, rows = [], ranks = [], said = new Map(), hovered = null, rank = -1;

  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", WORDS.kinds);

  const at = () => kinds.indexOf(model.get("kind")), names = () => pages[at()][3];
  const selected = () => names().indexOf(model.get("selected"));

  function draw() {
    const picture = readPicture(pictures[fits][at()]);
    said = picture.said;
    rows = names().map((_, row) => picture.svg.querySelector(`[data-row="${row}"]:not([data-rank])`));
    ranks = [...picture.svg.querySelectorAll("[data-rank]:not([data-row])")];
    hovered = null;
    holder.replaceChildren(picture.svg);
    buttons.forEach((button, number) => button.setAttribute("aria-pressed", number === at()));
    root.setAttribute("aria-label", `${picture.svg.getAttribute("aria-label")}. ${WORDS.keys}`);
    root.dataset.kind = model.get("kind");
    mark();
  }

  // Where a tensor and a rank are both chosen, what the rank holds of the tensor.
  function chosen() {
    const row = selected(), number = ranks[rank]?.dataset.rank;
    if (row >= 0 && number !== undefined) return holder.querySelector(`[data-row="${row}"][data-rank="${number}"]`);
    return rows[row] ?? ranks[rank] ?? null;
  }

  function mark() {
    const row = selected(), number = ranks[rank]?.dataset.rank;
    rows.forEach((node, which) => node.classList.toggle("lab-shards-chosen", which === row));
    for (const node of holder.querySelectorAll("[data-rank]"))
      node.classList.toggle("lab-shards-of-rank", node.dataset.rank === number);
    describe();
  }

  function describe() {
    const node = hovered ?? chosen();
    tell(says, node ? said.get(node).split("\n") : [WORDS.hint], !hovered);
  }

  function choose(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  }

  function show(number) {
    const kind = kinds[Math.max(0, Math.min(kinds.length - 1, number))];
    const stays = pages[kinds.indexOf(kind)][3].includes(model.get("selected"));
    choose({ kind, ...(stays ? {} : { selected: "" }) });
  }

  const select = (row) => choose({ selected: names()[row] ?? "" });

  // By keyboard: what is under the pointer is no longer what is told of.
  function goTo(row, toRank = rank) {
    hovered = null;
    rank = Math.max(-1, Math.min(ranks.length - 1, toRank));
    if (row !== selected()) select(row);
    mark();
  }

  addKeyHelp(root, add(root, "div", "bar"), WORDS.key_help);
  onPointed(holder, (node) => ((hovered = said.has(node) ? node : null), describe()));
  holder.addEventListener("click", ({ target }) => {
    if (!said.has(target)) return;
    const { row, rank: number } = target.dataset;
    const which = number === undefined ? -1 : ranks.findIndex((node) => node.dataset.rank === number);
    const again = target === chosen();
    rank = again ? -1 : which;
    select(again || row === undefined ? -1 : Number(row));
    mark();
  });
  onKeys(root, {
    ArrowRight: () => show(at() + 1),
    ArrowLeft: () => show(at() - 1),
    ArrowDown: () => goTo(Math.min(names().length - 1, selected() + 1)),
    ArrowUp: () => goTo(selected() < 0 ? names().length - 1 : Math.max(0, selected() - 1)),
    Home: () => goTo(0),
    End: () => goTo(names().length - 1),
    PageDown: () => goTo(selected(), rank + 1),
    PageUp: () => goTo(selected(), rank - 1),
    Escape: () => goTo(-1, -1),
  });
  model.on("change:kind", draw);
  model.on("change:selected", mark);
  const leave = kinds.length ? onWidth(holder, pictures.map(([first]) => first), (number) => ((fits = number), draw())) : () => {};
  return () => {
    leave();
    model.off("change:kind", draw);
    model.off("change:selected", mark);
  };
}

export default { render };
