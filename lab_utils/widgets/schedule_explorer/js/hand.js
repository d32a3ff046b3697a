// Ops placed by hand: the next ones of the chosen rank as buttons, any other in words; undo.

const PLACING_KEYS = { f: "F", b: "B", w: "W", x: "BW" };

class Hand {
  constructor(parent, about, model, choose, board) {
    Object.assign(this, { model, board, offers: [], turns: new Turns(model, choose) });
    this.root = add(parent, "div", "hand", "", { role: "group", "aria-label": WORDS.by_hand });
    const row = add(this.root, "div", "row");
    const restart = (changes) => this.turns.take(() => ({ ...changes, moves: [] }));
    this.select = addChoice(row, WORDS.stages, about.stage_layouts, (stage_layout) => restart({ stage_layout }));
    this.undone = addButton(row, WORDS.undo, () => this.undo());
    addButton(row, WORDS.start_empty, () => restart({}));
    const any = { type: "text", size: 6, placeholder: "F0", "aria-label": WORDS.any_op_of_rank };
    const label = add(row, "label", "choice", `${WORDS.any_op} `);
    this.any = add(label, "input", "any", "", any);
    this.any.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && this.any.value.trim()) this.place(this.any.value.trim()), (this.any.value = "");
    });
    this.next = add(this.root, "div", "offers", "", { role: "group" });
    this.position = new PositionText(this.root, choose);
  }

  place(word, rank = this.board.rank) {
    this.turns.take(() => ({ moves: [...this.model.get("moves"), [rank, word]] }));
  }

  undo() {
    this.turns.take(() => {
      const moves = this.model.get("moves");
      return moves.length ? { moves: moves.slice(0, -1) } : null;
    });
  }

  // A key on the picture; whether it was one of ours.
  key({ key }) {
    if (this.root.hidden) return false;
    if (key === "Backspace") this.undo();
    else if (PLACING_KEYS[key.toLowerCase()]) this.placeKind(PLACING_KEYS[key.toLowerCase()]);
    else return false;
    return true;
  }

  // The first of that kind that is legal, or else one whose refusal explains why; also where none is offered.
  placeKind(kind, rank = this.board.rank) {
    this.turns.take(() => {
      const here = (this.model.get("_drawn").offers ?? []).filter(([of]) => of === rank);
      const mine = here.filter(([, word]) => word.replace(/\d/g, "") === kind);
      const word = (mine.find(([, , why]) => !why) ?? mine[0])?.[1] ?? `${kind}0`;
      return here.length ? { moves: [...this.model.get("moves"), [rank, word]] } : null;
    });
  }

  follow(drawn) {
    const { model, board } = this;
    this.root.hidden = model.get("choice") !== "hand";
    this.offers = drawn.offers ?? [];
    this.select.value = model.get("stage_layout");
    this.select.disabled = Boolean(model.get("level"));
    this.position.follow(drawn);
    this.undone.disabled = !model.get("moves").length;
    this.next.setAttribute("aria-label", fill(WORDS.next_ops, board));
    const mine = this.offers.filter(([rank]) => rank === board.rank);
    const focused = [...this.next.children].indexOf(document.activeElement);
    this.next.replaceChildren();
    const name = add(this.next, "span", "offers-name", fill(mine.length ? WORDS.next : WORDS.none_next, board));
    name.classList.toggle("lab-sx-quiet", !mine.length);
    for (const [rank, word, why] of mine) {
      const label = why ? fill(WORDS.not_now, { op: word }) : word;
      const button = addButton(this.next, word, () => this.place(word, rank), { "aria-label": label, title: why });
      if (why) button.setAttribute("aria-disabled", "true"); // it can still be pressed: then the reason is said
    }
    if (focused > 0) (this.next.children[Math.min(focused, this.next.children.length - 1)] ?? board.area).focus();
  }
}
