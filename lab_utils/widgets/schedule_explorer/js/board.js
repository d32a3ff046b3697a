// An order placed in time, on a canvas: a row a rank, boxes of F, B and W, and the pauses between them.

const LEFT = 62, RIGHT = 100, TOP = 6, AXIS = 22, FIELDS = 6, NAMES = ["F", "B", "W", "BW"];

// The boxes as Python packs them: rank, kind, stage, micro-batch, start, end.
function boxesOf(view) {
  if (!view || !view.byteLength) return new Float32Array();
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

class Board {
  // marked(item) is called when another op or pause, or none, is chosen or pointed at; key(event) gets what is left.
  constructor(parent, style, { label, marked, key = () => false, seconds = false }) {
    Object.assign(this, { label, marked, key, seconds, figure: null, rows: [], at: null, hovered: null, rank: 0 });
    this.area = add(parent, "div", "board", "", { tabindex: 0, role: "application", ...NO_COMMANDS });
    this.canvas = add(this.area, "canvas", "", "", { "aria-hidden": "true" });
    this.surface = new Surface(this.canvas, style);
    style.paint(() => this.later());
    this.view = new View(() => this.later());
    listenToZoom(this.area, this);
    this.watch = new ResizeObserver(() => this.later());
    this.watch.observe(this.area);
    this.area.addEventListener("pointermove", (event) => this.point(this.itemAt(event)));
    this.area.addEventListener("pointerleave", () => this.point(null));
    this.area.addEventListener("click", (event) => this.pick(this.itemAt(event), this.rankAt(event)));
    this.area.addEventListener("keydown", (event) => this.press(event));
    this.area.addEventListener("focus", () => this.later());
    this.area.addEventListener("blur", () => this.later());
  }

  // figure: {boxes, ranks, extent, gaps, named, words}, and of an order: nth_on_rank (of each stage), peaks, limit, par
  show(figure) {
    const rows = Array.from({ length: figure.ranks }, () => []), { boxes } = figure;
    for (let i = 0; i < boxes.length; i += FIELDS) rows[boxes[i]].push(this.opAt(boxes, i));
    for (const [rank, start, end, why, needs] of figure.gaps) rows[rank].push({ rank, start, end, why, needs });
    for (const [rank, since] of figure.stands ?? []) rows[rank].find((item) => item.why && item.start === since).stands = true;
    for (const row of rows) row.sort((a, b) => a.start - b.start || a.end - b.end);
    const was = this.at;
    Object.assign(this, { figure, rows, rank: Math.min(this.rank, figure.ranks - 1), hovered: null });
    this.at = was && this.like(was);
    this.view.fit(figure.extent || 1);
    this.area.setAttribute("aria-label", fill(WORDS.described, { label: this.label, text: figure.words }));
    this.later();
  }

  opAt(boxes, i) {
    const [rank, kind, stage, number, start, end] = boxes.subarray(i, i + FIELDS);
    return { rank, kind, stage, number, start, end, op: i / FIELDS };
  }

  // The same op of another picture.
  like({ op, rank, kind, stage, number }) {
    const same = (one) => one.kind === kind && one.stage === stage && one.number === number;
    return op === undefined ? null : (this.rows[rank] ?? []).find((one) => one.op !== undefined && same(one)) ?? null;
  }

  later() {
    this.frame ??= requestAnimationFrame(() => ((this.frame = null), this.draw()));
  }

  size() {
    const { ranks } = this.figure, row = ranks <= 8 ? 30 : ranks <= 16 ? 22 : 15;
    const width = Math.max(320, Math.floor(this.area.clientWidth));
    return { row, width, height: TOP + ranks * row + AXIS, scale: (width - LEFT - RIGHT) / this.view.width };
  }

  timeAt({ offsetX }) {
    return this.view.from + (offsetX - LEFT) / this.size().scale;
  }

  draw() {
    if (!this.figure || !this.area.clientWidth) return;
    const began = performance.now(), { surface } = this, { row, width, height, scale } = this.size();
    surface.clear(width, height);
    this.drawAxis(row, width, scale);
    this.rows.forEach((items, rank) => {
      const y = TOP + rank * row;
      const chosen = rank === this.rank && document.activeElement === this.area;
      surface.box(surface.style.colors.lane, LEFT, y + 2, width - LEFT - RIGHT, row - 4);
      const ink = surface.style.colors.ink;
      surface.write(`${chosen ? "▸ " : ""}${fill(WORDS.rank, { rank })}`, 4, y + row / 2 + 4, { weight: 600, ink });
      this.inside(width, () => items.forEach((item) => this.isSeen(item) && this.drawOp(item, y, row, scale)));
      this.inside(width, () => this.drawStand(rank, y, row, scale));
      if (this.figure.peaks) this.drawPeak(rank, width, y + row / 2 + 4);
    });
    this.drawPar(row, scale);
    this.inside(width, () => {
      for (const item of [this.at, this.hovered]) if (item) this.drawMarks(item, row, scale);
    });
    this.area.dataset.drawMs = (performance.now() - began).toFixed(1);
    this.area.dataset.drawn = `${+(this.area.dataset.drawn ?? 0) + 1}`;
  }

  inside(width, draw) {
    this.surface.within(LEFT, 0, width - LEFT - RIGHT, this.surface.height, draw);
  }

  isSeen({ op, start, end }) {
    return op !== undefined && end >= this.view.from && start <= this.view.from + this.view.width;
  }

  drawAxis(row, width, scale) {
    const { surface, figure, view } = this, { colors } = surface.style, bottom = TOP + figure.ranks * row;
    const last = Math.min(figure.extent, view.from + view.width);
    const { step } = roundStep(view.width, Math.max(2, width / 90) * (1 + 1e-9));
    for (let k = Math.ceil(view.from / step - 1e-9); k * step <= last * (1 + 1e-9); k += 1) {
      const x = LEFT + (k * step - view.from) * scale;
      surface.box(colors.grid, x, TOP, 1, bottom - TOP + 3);
      surface.write(this.timeText(k * step), x, bottom + 16, { align: k ? "center" : "left" });
    }
  }

  // What the rank holds at most, against the limit.
  drawPeak(rank, width, y) {
    const { peaks, limit } = this.figure, over = limit !== null && peaks[rank] > limit + 1e-9;
    const { strong, quiet_ink: quiet } = this.surface.style.colors, peak = amount(peaks[rank]);
    const holds = limit === null ? fill(WORDS.holds, { peak }) : fill(WORDS.holds_of, { peak, limit: amount(limit) });
    const words = over ? fill(WORDS.too_much, { holds }) : holds;
    this.surface.write(words, width - RIGHT + 6, y, { ink: over ? strong : quiet, weight: over ? 600 : 400 });
  }

  // What the reader wants to beat.
  drawPar(row, scale) {
    const { surface, figure, view } = this, { strong } = surface.style.colors, at = figure.par - view.from;
    if (figure.par === undefined || at < 0 || at > view.width * (1 + 1e-9)) return;
    const x = LEFT + at * scale;
    for (let y = TOP; y < TOP + figure.ranks * row; y += 8) surface.box(strong, x - 1, y, 2, 5);
    surface.write(WORDS.par, x + 12, TOP + figure.ranks * row + 16, { ink: strong, weight: 600 });
  }

  drawOp(item, y, row, scale) {
    const { surface } = this, x = LEFT + (item.start - this.view.from) * scale, width = (item.end - item.start) * scale;
    surface.box(surface.fills[item.kind], x, y + 2, Math.max(width - (width > 3 ? 0.8 : 0), 0.5), row - 4);
    const look = surface.style.looks[item.kind], size = row > 18 ? 11 : 9;
    // Lines under the ops of a rank's later virtual stages.
    const lines = width > 6 ? Math.min(3, this.figure.nth_on_rank?.[item.stage] ?? 0) : 0;
    for (let k = 0; k < lines; k += 1) surface.box(look.ink, x + 1, y + row - 5 - 3 * k, width - 2.8, 1.5);
    const plate = look.pattern === "plain" ? null : look.fill;
    const word = this.words(item).find((one) => one.length * size * 0.64 + 6 < width);
    if (!word) return;
    surface.write(word, x + width / 2, y + row / 2 + 4, { size, align: "center", ink: look.ink, plate });
  }

  // Where the rank is stuck, and at which op.
  drawStand(rank, y, row, scale) {
    const [, since, op] = this.figure.stands?.find(([stuck]) => stuck === rank) ?? [];
    if (op === undefined) return;
    const x = LEFT + (since - this.view.from) * scale, { strong } = this.surface.style.colors;
    this.surface.box(strong, x, y + 2, 3, row - 4);
    this.surface.write(fill(WORDS.stands_at, { op }), x + 8, y + row / 2 + 4, { weight: 600, ink: strong });
  }

  // From the longest to the shortest that still says which micro-batch it is.
  words({ kind, stage, number }) {
    const short = [`${NAMES[kind]}${number}`, `${number}`];
    return this.figure.named ? [`${stage}${short[0]}`, ...short] : short;
  }

  // The item, and for a pause the op that it waits for.
  drawMarks(item, row, scale) {
    this.drawMark(item, row, scale);
    if (item.needs >= 0) this.drawMark(this.opAt(this.figure.boxes, FIELDS * item.needs), row, scale);
  }

  drawMark({ rank, start, end, op }, row, scale) {
    const { strong, ink } = this.surface.style.colors, y = TOP + rank * row;
    const args = [LEFT + (start - this.view.from) * scale + 1, y + 3, Math.max((end - start) * scale - 2, 2), row - 6];
    this.surface.frame(op === undefined ? strong : ink, 2, ...args);
  }

  rankAt({ offsetY }) {
    return Math.max(0, Math.min(this.figure.ranks - 1, Math.floor((offsetY - TOP) / this.size().row)));
  }

  itemAt(event) {
    if (!this.figure || event.target !== this.canvas) return null;
    const time = this.timeAt(event);
    if (event.offsetX < LEFT || event.offsetX > this.size().width - RIGHT) return null;
    return this.rows[this.rankAt(event)].find(({ start, end }) => start <= time && time < end) ?? null;
  }

  point(item) {
    if (item === this.hovered) return;
    this.hovered = item;
    this.later();
    this.marked(item ?? this.at, item !== null);
  }

  pick(item, rank) {
    this.rank = rank;
    this.at = item;
    if (item) this.view.reach(item);
    this.later();
    this.marked(item, false);
  }

  press(event) {
    const row = this.rows[this.rank] ?? [], at = row.indexOf(this.at), last = row.length - 1;
    const turn = (by) => this.pick(null, Math.max(0, Math.min(this.rows.length - 1, this.rank + by)));
    const actions = {
      ArrowRight: () => this.pick(row[Math.min(last, at + 1)] ?? null, this.rank),
      ArrowLeft: () => this.pick(row[Math.max(0, at - 1)] ?? null, this.rank),
      Home: () => this.pick(row[0] ?? null, this.rank),
      End: () => this.pick(row[last] ?? null, this.rank),
      ArrowDown: () => turn(1),
      ArrowUp: () => turn(-1),
      Escape: () => this.pick(null, this.rank),
      "+": () => this.view.zoom(ZOOM),
      "=": () => this.view.zoom(ZOOM),
      "-": () => this.view.zoom(1 / ZOOM),
      0: () => this.view.whole(),
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (actions[event.key]) actions[event.key]();
    else if (!this.key(event)) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
  }

  // What an op or a pause is, in words.
  told({ rank, start, end, why, stands, kind, stage, number }) {
    if (stands) return fill(WORDS.stands, { since: this.timeText(start), why });
    const span = fill(WORDS.span, { start: this.timeText(start), end: this.timeText(end) });
    if (why) return fill(WORDS.idle_because, { span, why });
    return fill(WORDS.op, { op: `${NAMES[kind]}${number}`, stage, rank, span });
  }

  timeText(value) {
    return this.seconds ? fill(WORDS.milliseconds, { time: amount(value * 1000) }) : amount(value);
  }

  leave() {
    this.watch.disconnect();
    if (this.frame) cancelAnimationFrame(this.frame);
  }
}
