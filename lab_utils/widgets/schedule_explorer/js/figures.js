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
    this.scale = addButton(row, WORDS.same_scale, () => this.useOwnScales(!this.own), labelled(WORDS.show_same_scale));
    this.says = add(this.root, "div", "says", "", { role: "status", "aria-live": "polite" });
    this.boards = [WORDS.measured, WORDS.predicted].map((label) => this.addFigure(label));
    this.told = add(this.root, "div", "quiet");
  }

  addFigure(label) {
    const box = add(this.root, "div", "figure");
    const head = add(box, "div", "quiet");
    const marked = (item) => say(this.told, item ? board.told(item) : "");
    const board = new Board(box, this.about.style, { label, marked, seconds: true });
    return { box, head, board, label };
  }

  follow() {
    const ran = this.model.get("_ran");
    this.button.disabled = ran.state === "running";
    this.stop.hidden = ran.state !== "running";
    this.says.replaceChildren();
    for (const sentence of ran.says ?? []) add(this.says, "div", "", sentence);
    this.says.classList.toggle("lab-sx-wrong", ["failed", "differs"].includes(ran.state));
    this.useOwnScales(areFarApart(ran.lengths ?? []));
  }

  // Each figure on its own scale, or both on one.
  useOwnScales(own) {
    const ran = this.model.get("_ran"), boxes = boxesOf(this.model.get("_ran_boxes"));
    this.own = own;
    this.scale.hidden = !ran.ops;
    this.scale.setAttribute("aria-pressed", `${!own}`);
    this.boards.forEach(({ box, head, board, label }, at) => {
      box.hidden = !ran.ops;
      if (!ran.ops) return;
      const { ranks, lengths, lengths_text: times, named, nth_on_rank } = ran, size = FIELDS * ran.ops;
      const extent = axisLengths(lengths, own)[at], mine = boxes.slice(at * size, (at + 1) * size);
      say(head, own ? fill(WORDS.on_own_scale, { label, time: times[at] }) : label);
      board.show({ ranks, extent, named, nth_on_rank, words: times[at], gaps: [], boxes: mine });
    });
  }

  leave() {
    for (const { board } of this.boards) board.leave();
  }
}
