// A search under way: how far it is, the shortest order so far, and a button that stops it.

class Searching {
  constructor(parent, model, choose) {
    this.model = model;
    this.root = add(parent, "div", "row");
    this.bar = add(this.root, "progress", "", "", { max: 1, "aria-label": WORDS.search });
    this.words = add(this.root, "span", "searching"); // no live region: it changes many times a second
    addButton(this.root, WORDS.stop, () => choose({ _stops: model.get("_stops") + 1 }));
  }

  follow() {
    const { part, says = "" } = this.model.get("_searching");
    this.root.hidden = part === undefined;
    this.bar.value = part ?? 0;
    say(this.words, says);
  }
}
