// Looks into the pictures of ShardMap (shard_map.py): one a kind; hover, select a tensor, all by keyboard too.
function add(parent, tag, name, content = "") {
  const node = document.createElement(tag);
  node.className = `lab-shards-${name}`;
  node.textContent = content;
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

function render({ model, el }) {
  const root = add(el, "div", "card"), bar = add(root, "div", "kinds"), stage = add(root, "div", "picture");
  const says = add(root, "div", "says"), pages = model.get("pages"), kinds = pages.map(([kind]) => kind);
  const buttons = pages.map(([, name]) => add(bar, "button", "kind", name));
  let rows = [], ranks = [], said = new Map(), hovered = null, rank = -1;

  root.tabIndex = 0;
  root.setAttribute("role", "group");
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "what is shown of each rank");
  says.setAttribute("role", "status");
  says.setAttribute("aria-live", "polite");
  for (const node of [root, ...buttons]) node.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the keys

  const at = () => kinds.indexOf(model.get("kind")), names = () => pages[at()][3];

  function draw() {
    const picture = readPicture(pages[at()][2]);
    said = picture.said;
    rows = names().map((_, row) => picture.svg.querySelector(`[data-row="${row}"]:not([data-rank])`));
    ranks = [...picture.svg.querySelectorAll("[data-rank]:not([data-row])")];
    hovered = null;
    stage.replaceChildren(picture.svg);
    buttons.forEach((button, number) => button.setAttribute("aria-pressed", number === at()));
    const keys = "Left and right choose what is shown, up and down a tensor, page up and down a rank.";
    root.setAttribute("aria-label", `${picture.svg.getAttribute("aria-label")}. ${keys}`);
    root.dataset.kind = model.get("kind");
    mark();
  }

  // Where a tensor and a rank are both chosen, what the rank holds of the tensor.
  function chosen() {
    const row = names().indexOf(model.get("selected")), number = ranks[rank]?.dataset.rank;
    if (row >= 0 && number !== undefined) return stage.querySelector(`[data-row="${row}"][data-rank="${number}"]`);
    return rows[row] ?? ranks[rank] ?? null;
  }

  function mark() {
    const row = names().indexOf(model.get("selected")), number = ranks[rank]?.dataset.rank;
    rows.forEach((node, which) => node.classList.toggle("lab-shards-chosen", which === row));
    for (const node of stage.querySelectorAll("[data-rank]"))
      node.classList.toggle("lab-shards-of-rank", node.dataset.rank === number);
    describe();
  }

  function describe() {
    const node = hovered ?? chosen(), lines = node ? said.get(node).split("\n") : ["Point at a rank or a tensor, or use the arrow keys."];
    says.setAttribute("aria-live", hovered ? "off" : "polite"); // a pointer passes over many
    says.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
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

  function key(event) {
    const row = names().indexOf(model.get("selected")), last = names().length - 1;
    const actions = {
      ArrowRight: () => show(at() + 1),
      ArrowLeft: () => show(at() - 1),
      ArrowDown: () => select(Math.min(last, row + 1)),
      ArrowUp: () => select(row < 0 ? last : Math.max(0, row - 1)),
      Home: () => select(0),
      End: () => select(last),
      PageDown: () => ((rank = Math.min(ranks.length - 1, rank + 1)), mark()),
      PageUp: () => ((rank = Math.max(-1, rank - 1)), mark()),
      Escape: () => ((rank = -1), select(-1), mark()),
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
    hovered = null;
    actions[event.key]();
  }

  stage.addEventListener("pointerover", (event) => ((hovered = said.has(event.target) ? event.target : null), describe()));
  stage.addEventListener("pointerleave", () => ((hovered = null), describe()));
  stage.addEventListener("click", ({ target }) => {
    if (!said.has(target)) return;
    const { row, rank: number } = target.dataset;
    const which = number === undefined ? -1 : ranks.findIndex((node) => node.dataset.rank === number);
    const again = target === chosen();
    rank = again ? -1 : which;
    select(again || row === undefined ? -1 : Number(row));
    mark();
  });
  buttons.forEach((button, number) => button.addEventListener("click", () => show(number)));
  root.addEventListener("keydown", key);
  model.on("change:kind", draw);
  model.on("change:selected", mark);
  if (kinds.length) draw();
  return () => {
    model.off("change:kind", draw);
    model.off("change:selected", mark);
  };
}

export default { render };
