// Levels: which one, its goal, the next one once it is done; and the position as text, to save and to load.

class Levels {
  constructor(parent, about, model, choose) {
    Object.assign(this, { about, model });
    const row = add(parent, "div", "row");
    this.select = addChoice(row, WORDS.level, { "": WORDS.no_level, ...about.levels }, (level) => choose({ level }));
    this.next = addButton(row, "", () => choose({ level: this.following }));
    this.goal = add(parent, "div", "goal", "", { role: "status" });
  }

  follow({ level }) {
    const { model, about } = this, solved = model.get("solved");
    for (const option of this.select.options) {
      const title = about.levels[option.value];
      if (title) say(option, solved.includes(option.value) ? fill(WORDS.done, { title }) : title);
    }
    this.select.value = model.get("level");
    say(this.goal, level?.goal ?? "");
    this.goal.hidden = !level;
    const had = document.activeElement === this.next;
    this.following = level?.next ?? "";
    this.next.hidden = !this.following;
    if (this.following) say(this.next, fill(WORDS.next_level, { title: about.levels[this.following] }));
    else if (had) this.select.focus();
  }
}

// Closed until a person opens it. What a person is about to load is not written over.
class PositionText {
  constructor(parent, choose) {
    this.root = add(parent, "details", "position");
    add(this.root, "summary", "", WORDS.position);
    const named = { spellcheck: "false", "aria-label": WORDS.position_text };
    this.text = add(this.root, "textarea", "", "", named);
    this.text.addEventListener("keydown", (event) => event.stopPropagation());
    addButton(this.root, WORDS.load, () => choose({ _load: this.text.value }), { title: WORDS.load_tip });
  }

  follow({ position }) {
    if (position === undefined || position === this.saved) return;
    this.saved = this.text.value = position;
    this.text.rows = position.split("\n").length;
  }
}
