// One button runs the order on real ranks: then its parity in words, and the measured times above the predicted ones.

class Figures {
  constructor(parent, about, model, choose) {
    Object.assign(this, { model, about });
    this.root = add(parent, "div", "run");
    this.root.hidden = !about.can_run;
    const row = add(this.root, "div", "row");
    const { can_run: count } = about, ranks = count === 1 ? WORDS.run_on_one : fill(WORDS.run_on_ranks, { count });
    this.button = addButton(row, ranks, () => choose({ _runs: model.get("_runs") + 1 }));
    this.stop = addButton(row, WORDS.stop_ranks, () => choose({ _run_stops: model.get("_run_stops") + 1 }));
    this.says = add(this.root, "div", "says", "", { role: "status", "aria-live": "polite" });
    this.boards = [WORDS.measured, WORDS.predicted].map((label) => this.addFigure(label));
    this.told = add(this.root, "div", "quiet");
  }

  addFigure(label) {
    const box = add(this.root, "div", "figure");
    add(box, "div", "quiet", label);
    const marked = (item) => say(this.told, item ? board.told(item) : "");
    const board = new Board(box, this.about.style, { label, marked, seconds: true });
    return { box, board };
  }

  follow() {
    const ran = this.model.get("_ran"), boxes = boxesOf(this.model.get("_ran_boxes"));
    this.button.disabled = ran.state === "running";
    this.stop.hidden = ran.state !== "running";
    this.says.replaceChildren();
    for (const sentence of ran.says ?? []) add(this.says, "div", "", sentence);
    this.says.classList.toggle("lab-sx-wrong", ["failed", "differs"].includes(ran.state));
    this.boards.forEach(({ box, board }, at) => {
      box.hidden = !ran.ops;
      if (!ran.ops) return;
      const { ranks, extent, named, nth_on_rank, extent_text: words } = ran, size = FIELDS * ran.ops;
      const mine = boxes.slice(at * size, (at + 1) * size);
      board.show({ ranks, extent, named, nth_on_rank, words, gaps: [], boxes: mine });
    });
  }

  leave() {
    for (const { board } of this.boards) board.leave();
  }
}
