// Which order, sliders for what it depends on, the search for it. Each change goes to Python, which places it anew.

const SLIDERS = [
  { name: "p", label: WORDS.p, min: 1, max: 16, step: 1 },
  { name: "m", label: WORDS.m, min: 1, max: 64, step: 1 },
  { name: "v", label: WORDS.v, min: 1, max: 4, step: 1 },
  { name: "forward", label: WORDS.forward, min: 0.1, max: 4, step: 0.1 },
  { name: "backward_input", label: WORDS.backward_input, min: 0, max: 4, step: 0.1 },
  { name: "backward_weight", label: WORDS.backward_weight, min: 0, max: 4, step: 0.1 },
  { name: "communication", label: WORDS.communication, min: 0, max: 2, step: 0.05 },
  { name: "limit", label: WORDS.limit, min: 0, max: 16, step: 0.5 },
];

class Controls {
  constructor(parent, about, model, choose) {
    Object.assign(this, { about, model, choose });
    this.top = add(parent, "div", "row");
    this.select = addChoice(this.top, WORDS.schedule, about.titles, (choice) => choose({ choice }));
    const box = add(parent, "div", "sliders", "", { role: "group", "aria-label": WORDS.depends_on });
    this.parts = SLIDERS.map((slider) => this.addSlider(box, slider));
    this.own = add(parent, "label", "own", `${WORDS.own} `);
    const named = { spellcheck: "false", "aria-label": WORDS.own_order };
    this.text = add(this.own, "textarea", "", "", named);
    this.text.addEventListener("input", () => choose({ text: this.text.value }));
    this.follow();
  }

  addSlider(box, { name, label, min, max, step }) {
    const part = add(box, "label", "slider"), head = add(part, "span", "slider-head");
    add(head, "span", "", label);
    const value = add(head, "span", "value");
    const input = add(part, "input", "range", "", { type: "range", min, max, step, "aria-label": label });
    input.addEventListener("input", () => this.choose({ [name]: this.valueOf(name, +input.value) }));
    return { input, value, part, name, max };
  }

  valueOf(name, value) {
    return name === "limit" && !value ? null : value;
  }

  // p, m and v of an order that the reader wrote follow from what is written.
  usable(name) {
    if (this.model.get("level")) return false; // which has set them all
    const choice = this.model.get("choice"), loop = choice === "hand" && this.model.get("stage_layout") === "loop";
    if (name === "v") return loop || this.about.with_virtual_stages.includes(choice);
    return choice !== "own" || !["p", "m"].includes(name);
  }

  follow() {
    const { model } = this, choice = model.get("choice");
    this.select.value = choice;
    for (const { input, value, part, name, max } of this.parts) {
      const now = model.get(name), words = now === null ? WORDS.no_limit : amount(now);
      input.max = name === "limit" ? Math.max(max, model.get("m")) : Math.max(max, now);
      if (+input.value !== (now ?? 0)) input.value = now ?? 0;
      input.disabled = !this.usable(name);
      part.classList.toggle("lab-sx-off", input.disabled);
      const counted = name === "limit" && now !== null;
      input.setAttribute("aria-valuetext", counted ? fill(WORDS.microbatches, { count: words }) : words);
      say(value, words);
    }
    this.own.hidden = choice !== "own";
    if (this.text.value !== model.get("text")) this.text.value = model.get("text");
    this.text.rows = Math.max(2, model.get("p"));
  }
}

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
