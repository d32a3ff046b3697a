// The card: what stands around the picture, and how it follows what happens there.

class Card {
  constructor(el, model, about, figures) {
    Object.assign(this, { model, about, figures });
    this.root = add(el, "section", "card", "", { "aria-label": about.title });
    const { font, colors } = about.style;
    this.root.style.fontFamily = font;
    for (const name of Object.keys(colors)) this.root.style.setProperty(`--lab-tl-${name}`, colors[name]);
    this.shown = figures.at(-1); // the one that sliders move
    this.addHead();
    this.addSliders();
    this.addChart();
    this.addScrubber();
    this.addFoot();
    this.takeSelection();
    this.update();
  }

  addHead() {
    const head = add(this.root, "div", "head"), title = add(head, "div");
    add(title, "div", "title", WORDS.title);
    const kinds = add(title, "div", "kinds quiet");
    for (const { about: { busy } } of this.figures) if (busy) add(title, "div", "busy", busy);
    this.updates = [addNumbers(head, this.figures), () => say(kinds, figuresText(this.figures))];
  }

  addSliders() {
    if (!this.about.choices.length) return;
    const setting = this.model.get("_setting");
    const moved = (now, begins) => this.retime(now, begins);
    this.sliders = new Sliders(this.root, this.about, setting, moved, () => this.rested());
    if (!sameSetting(this.shown.setting, setting)) this.shown.retime(setting);
    this.shown.name = this.sliders.name;
  }

  addChart() {
    this.area = add(this.root, "div", "area", "", {
      tabindex: 0, role: "group", "aria-label": WORDS.keys, ...NO_COMMANDS,
    });
    this.canvas = add(this.area, "canvas", "base", "", { role: "img" });
    add(this.area, "canvas", "over", "", { "aria-hidden": "true" });
    this.tip = add(this.area, "div", "tip", "", { "aria-hidden": "true", hidden: "" });
    this.chart = new InteractiveChart(this.area, this.figures, this.about.style, {
      moved: () => this.moved(), hovered: (lines, x, y) => this.showTip(lines, x, y),
      said: (words) => say(this.spoken, words), selected: () => this.sendSelection(),
    });
    listenToPointer(this.area, this.chart);
    listenToWheel(this.area, this.chart);
    listenToKeys(this.area, this.chart);
  }

  // The scrubber lies under the picture's own axis, so that its thumb stands under the cursor.
  addScrubber() {
    const bar = add(this.root, "div", "bar"), { chart } = this;
    this.play = addButton(bar, "▶", () => chart.togglePlay(), labelled(WORDS.play));
    this.scrubber = addRange(bar, "scrubber", 1000, WORDS.time_shown);
    this.scrubber.addEventListener("input", () => {
      const { from, to } = chart.scene.view;
      if (chart.playing) chart.pause();
      chart.scrub(from + (to - from) * (this.scrubber.value / 1000));
    });
    this.time = add(bar, "span", "time");
    const tools = add(this.root, "div", "tools");
    this.now = add(tools, "div", "now quiet");
    if (this.shown.predicted) {
      this.critical = addButton(tools, WORDS.critical_path, () => this.toggleCritical(), {
        ...labelled(WORDS.show_critical_path), "aria-pressed": "false",
      });
    }
    if (this.figures.length > 1) {
      this.sameScale = addButton(tools, WORDS.same_scale, () => this.toggleScale(), {
        ...labelled(WORDS.show_same_scale), "aria-pressed": `${!chart.scene.own}`,
      });
    }
    addButton(tools, "−", () => chart.zoom(1 / KEY_ZOOM), labelled(WORDS.zoom_out));
    addButton(tools, "+", () => chart.zoom(KEY_ZOOM), labelled(WORDS.zoom_in));
    addButton(tools, WORDS.whole, () => chart.whole(), labelled(WORDS.show_whole));
  }

  addFoot() {
    addLegend(this.root, WORDS.legend, this.about.legend, this.about.style, this.about.rows_note);
    const details = add(this.root, "details", "details");
    add(details, "summary", "", WORDS.numbers_of_ranks);
    const id = `lab-tl-${Math.random().toString(36).slice(2)}`;
    const tables = add(details, "div", "tables", "", { id, ...NO_COMMANDS }); // where it scrolls, it takes the focus
    this.updates.push(...this.figures.map((figure) => addRanks(add(tables, "div"), figure, figure.kind)));
    this.canvas.setAttribute("aria-describedby", tables.id);
    this.spoken = add(this.root, "p", "spoken", "", { role: "status", "aria-live": "polite" });
    add(this.root, "p", "hint quiet", WORDS.hint);
  }

  // A slider moves: placed, drawn and said at once, here; Python hears of it when the slider rests.
  retime(setting, begins) {
    const { chart, shown } = this;
    if (begins) shown.remember();
    shown.name = this.sliders.name;
    chart.retimed(shown, () => shown.retime(setting));
    this.update();
  }

  rested() {
    const { model, sliders } = this;
    const known = model.get("_setting");
    if (known.choice === sliders.setting.choice && sameSetting(known, sliders.setting)) return;
    model.set("_setting", sliders.setting);
    this.sendSelection();
    const { ghost } = this.shown, before = ghost ? ` ${fill(WORDS.before, { time: timeText(ghost.makespan) })}` : "";
    say(this.spoken, headline(this.shown) + before);
  }

  // Python, or another view of this widget, moved them.
  follow() {
    const setting = this.model.get("_setting");
    if (sameSetting(setting, this.sliders.setting)) return;
    this.sliders.setting = setting;
    this.sliders.show();
    this.retime(setting, true);
  }

  update() {
    for (const update of this.updates) update();
    this.root.setAttribute("aria-label", headline(this.shown));
    this.canvas.setAttribute("aria-label", this.figures.map(headline).join(" "));
    this.moved();
  }

  // The view, or the cursor of the scrubber.
  moved() {
    if (!this.scrubber) return;
    const { chart, shown } = this, { panels, view: { from, to } } = chart.scene, at = chart.cursor ?? to;
    const time = at / panels.at(-1).axis.stretch; // of the one that sliders move
    const whose = this.figures.length > 1 ? `${shown.kind}, ` : "";
    const words = whose + doingText(shown, time + shown.origin);
    this.scrubber.value = (1000 * (at - from)) / (to - from);
    this.scrubber.setAttribute("aria-valuetext", words);
    const { empty } = chart.scene;
    say(this.time, timeText(empty ? 0 : time));
    say(this.now, empty ? WORDS.empty : chart.cursor === null ? "" : words);
    this.play.disabled = this.scrubber.disabled = empty;
    say(this.play, chart.playing ? "❚❚" : "▶");
    this.play.setAttribute("aria-label", chart.playing ? WORDS.pause : WORDS.play);
    this.root.dataset.view = `${from} ${to}`;
  }

  toggleScale() {
    const own = !this.chart.scene.own;
    this.chart.useOwnScales(own);
    this.sameScale.setAttribute("aria-pressed", `${!own}`);
  }

  toggleCritical() {
    const { scene } = this.chart;
    scene.critical = !scene.critical;
    this.critical.setAttribute("aria-pressed", `${scene.critical}`);
    this.chart.draw();
  }

  showTip(lines, x, y) {
    this.tip.hidden = !lines;
    if (!lines) return;
    this.tip.replaceChildren();
    lines.forEach((line, at) => add(this.tip, "div", at ? "" : "tip-name", line));
    const { offsetWidth: width, offsetHeight: height } = this.tip, room = this.area.clientWidth;
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, room - width - 4))}px`;
    this.tip.style.top = `${y + 18 + height > this.area.clientHeight ? y - height - 12 : y + 18}px`;
  }

  get selectedNames() {
    return this.figures.map((figure) => (figure === this.shown ? "selected" : "selected_measured"));
  }

  takeSelection() {
    this.selectedNames.forEach((name, at) => (this.chart.selected[at] = [...this.model.get(name)]));
    this.chart.drawOver();
  }

  sendSelection() {
    const chosen = this.chart.selected.map((spans) => [...spans]); // setting one tells takeSelection of all
    this.selectedNames.forEach((name, at) => this.model.set(name, chosen[at]));
    this.model.save_changes();
  }
}

function figuresText(figures) {
  const kind = figures.map(kindText).join(WORDS.above);
  return fill(WORDS.subtitle, { ranks: ranksText(figures[0].ranks), kind });
}
