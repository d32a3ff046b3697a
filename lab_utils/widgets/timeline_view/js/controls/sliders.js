// Sliders for what a timeline is placed on: a hardware, or a schedule's costs. Each is logarithmic, and stands for
// exactly the given number until it moves.

const STEPS = 400;
const perSecond = (amount) => fill(WORDS.per_second, { amount: bytesText(amount) });
const times = (factor) => fill(WORDS.times, { factor: threeDigits(factor) });
const number = (name, text, low, high) => ({ name, label: WORDS.hardware_numbers[name], text, low, high });
const HARDWARE_SLIDERS = [
  number("latency_s", timeText, 1e-7, 1e-2), number("bytes_per_s", perSecond, 1e7, 2e12),
  number("across_latency_s", timeText, 1e-7, 1e-2), number("across_bytes_per_s", perSecond, 1e7, 2e12),
  number("compute_scale", times, 0.1, 10),
];
// What only Python changes; in the order of timeline/hardware/naming.py.
const OTHER_NUMBERS = [
  number("flops_per_s", (amount) => fill(WORDS.per_second, { amount: flopsText(amount) })),
  number("memory_bytes_per_s", perSecond), number("launch_s", timeText), number("issue_s", timeText),
  number("algorithm", (name) => name),
];
const NAMES = { hardware: WORDS.hardware, costs: WORDS.costs };
const BACK = { hardware: WORDS.back_to_hardware, costs: WORDS.back_to_costs };
const COSTS = WORDS.cost_numbers; // [name, label]

// From a hundredth of the largest cost to ten times it, and nothing at the left end. Costs that differ from stage to
// stage are moved together, by a factor.
function costSliders(given, byStage) {
  const most = Math.max(...COSTS.map(([name]) => (byStage.includes(name) ? 0 : given[name]))) || 1;
  return COSTS.map(([name, label]) => byStage.includes(name)
    ? { name, label, low: 0.01, high: 10, text: times, zero: true }
    : { name, label, low: most / 100, high: 10 * most, text: timeText, zero: true });
}

class Sliders {
  // about: {sets, by_stage, choices: [{label, base, base_name, numbers ...}], the first as given}: a choice is named as
  // its base with what differs. changed(setting, begins) at each move, `begins` with the first since a person took hold
  // of something else; rested() after.
  constructor(parent, { sets, by_stage: byStage, choices }, setting, changed, rested) {
    Object.assign(this, { choices, setting, changed, rested, timer: 0, begins: true });
    this.root = add(parent, "div", "sliders", "", { role: "group", "aria-label": NAMES[sets] });
    if (choices.length > 1) this.choose = this.addChoice();
    const all = sets === "costs" ? costSliders(choices[0], byStage) : HARDWARE_SLIDERS;
    this.numbers = sets === "costs" ? all : [...all, ...OTHER_NUMBERS];
    this.sliders = all.filter(({ name }) => choices.some((choice) => choice[name] !== null));
    this.parts = this.sliders.map((slider) => this.addSlider(slider));
    this.reset = addButton(this.root, WORDS.as_given, () => this.pick(this.setting.choice), labelled(BACK[sets]));
    this.show();
  }

  addChoice() {
    const label = add(this.root, "label", "choice", `${WORDS.which_hardware} `), select = add(label, "select");
    this.choices.forEach((choice, at) => add(select, "option", "", choice.label, { value: at }));
    select.addEventListener("change", () => this.pick(+select.value));
    return select;
  }

  addSlider(slider) {
    const label = add(this.root, "label", "slider"), head = add(label, "span", "slider-head");
    add(head, "span", "", slider.label);
    const value = add(head, "span", "value"), input = addRange(label, "range", STEPS, slider.label);
    input.addEventListener("input", () => this.move({ [slider.name]: this.valueAt(slider, +input.value) }));
    input.addEventListener("change", () => this.rest());
    for (const taken of ["pointerdown", "focus"]) input.addEventListener(taken, () => (this.begins = true));
    return { input, value, label };
  }

  // Three digits, so that what Python gets is what people read.
  valueAt({ low, high, zero }, step) {
    return zero && !step ? 0 : +(low * (high / low) ** (step / STEPS)).toPrecision(3);
  }

  stepOf({ low, high }, value) {
    return Math.round(STEPS * Math.min(1, Math.max(0, Math.log(value / low) / Math.log(high / low))));
  }

  move(part) {
    this.setting = { ...this.setting, ...part };
    this.show();
    this.changed(this.setting, this.begins);
    this.begins = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.rest(), 300);
  }

  rest() {
    clearTimeout(this.timer);
    this.rested();
  }

  pick(choice) {
    const { label, base, base_name: name, ...numbers } = this.choices[choice];
    this.begins = true;
    this.move({ ...numbers, choice });
    this.rest();
  }

  // What is predicted for: "H100 cluster, changed: latency 20.0 µs", as naming.py says it.
  get name() {
    const { setting, numbers } = this, { base, base_name: of } = this.choices[setting.choice];
    const changes = numbers.filter(({ name }) => setting[name] !== base[name] && setting[name] !== null)
      .map(({ name, label, text }) => `${label} ${text(setting[name])}`);
    return changes.length ? fill(WORDS.changed, { name: of, changes: changes.join(", ") }) : of;
  }

  show() {
    const { setting, choices } = this;
    this.sliders.forEach((slider, at) => {
      const { input, value, label } = this.parts[at], number = setting[slider.name];
      label.hidden = number === null || (setting.layout === null && slider.name.startsWith("across"));
      if (number === null) return;
      input.value = this.stepOf(slider, number);
      input.setAttribute("aria-valuetext", slider.text(number));
      say(value, slider.text(number));
    });
    if (this.choose) this.choose.value = setting.choice;
    this.reset.disabled = this.sliders.every(({ name }) => setting[name] === choices[setting.choice][name]);
  }
}
