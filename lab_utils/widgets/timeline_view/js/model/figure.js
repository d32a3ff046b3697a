// A timeline as the picture takes it: spans, lanes, phases and sums; a predicted one can be placed again.
const NO_PAINT = 255;

class Figure {
  // about: {kind, ranks, origin_s, makespan_s, first_compute, setting, memory, ...}; see arrays.py.
  constructor(about, arrays, strings) {
    const { kind, name, ranks } = about;
    Object.assign(this, { about, arrays, strings, kind, name, ranks, former: null });
    this.predicted = about.first_compute !== null;
    this.tracks = 0;
    if (this.predicted) this.retime(about.setting);
    else this.take(arrays, about.origin_s, about.makespan_s, [arrays.phase_start, arrays.phase_end]);
  }

  // Place the program on the numbers that sliders set; see sliders.py.
  retime(setting) {
    const { arrays, about } = this, { first, phase_from: from, phase_to: to, phase_rank: rank } = arrays;
    this.setting = setting;
    this.lag = lags(setting);
    const placed = place(arrays, costs(arrays, setting), this.lag);
    const makespan = placed.end.reduce((latest, at) => Math.max(latest, at), 0);
    this.placed = placed;
    this.path = null;
    this.take(spansOf(arrays, about.first_compute, placed), 0, makespan, [
      Float64Array.from(from, (node, p) => (node > first[rank[p]] ? placed.end[node - 1] : 0)),
      Float64Array.from(to, (node) => placed.end[node]),
    ]);
  }

  // Sliders begin to move: what stands here now is what stood here before.
  remember() {
    const { spans, lanes, makespan } = this;
    this.former = Object.assign(Object.create(this), { spans, lanes, makespan });
  }

  // What stood here before, if it was longer or shorter.
  get ghost() {
    return this.former && this.former.makespan !== this.makespan ? this.former : null;
  }

  // How long an axis has to be.
  get extent() {
    return Math.max(this.makespan, this.ghost?.makespan ?? 0);
  }

  take(spans, origin, makespan, [phaseStart, phaseEnd]) {
    Object.assign(this, { spans, origin, makespan, phaseStart, phaseEnd });
    this.lanes = lanesOf(spans, this.ranks);
    this.sums = sums(spans, this.lanes, makespan);
    this.memory = this.about.memory && memoryOf(this, this.about.memory);
    // Rows keep the height they once needed, so that the picture does not jump while a slider moves.
    this.tracks = Math.max(this.tracks, ...this.lanes.map((lane) => lane.wire.length));
  }

  // Spans on the critical path in order of time, an op on the wire as the ranks before and after it see it; null for a
  // measured timeline.
  get criticalSpans() {
    if (!this.predicted) return null;
    this.path ??= this.spansOnPath(criticalPath(this.arrays, this.placed, this.lag));
    return this.path;
  }

  spansOnPath(path) {
    const { spans, ranks, arrays: { first } } = this, found = new Map(path.map((node) => [node, []]));
    spans.node.forEach((node, span) => {
      const blocked = spans.lane[span] === OWN && spans.met[span] >= 0;
      if (!blocked && spans.activity[span] !== WAITING) found.get(node)?.push(span);
    });
    const rankOf = (node) => (node < first[ranks] ? firstAbove(first, node, 0, ranks) - 1 : -1);
    let before = -1;
    return path.flatMap((node, at) => {
      const rank = rankOf(node), after = at + 1 < path.length ? rankOf(path[at + 1]) : -1;
      if (rank >= 0) return (before = rank), found.get(node);
      const seenBy = before === after ? [before] : [before, after];
      return seenBy.flatMap((one) => found.get(node).filter((span) => spans.rank[span] === one));
    });
  }

  // Which of palette.PAINTS a span wears: its activity, or of a pipeline's computing which kind it is.
  paint(span) {
    const paint = this.arrays.op_paint[this.spans.op[span]];
    return paint === NO_PAINT ? this.spans.activity[span] : paint;
  }

  // The op's name, none for what is merely called by its activity.
  nameOf(span) {
    const name = this.strings[this.arrays.op_name[this.spans.op[span]]];
    return name === this.about.activities[this.spans.activity[span]] ? "" : name;
  }

  op(number) {
    const a = this.arrays, text = (column) => this.strings[column[number]];
    return {
      number, rank: a.op_rank[number], kind: text(a.op_kind), name: text(a.op_name), group: text(a.op_group),
      run_as: text(a.op_run_as), source: text(a.op_source), phase: text(a.op_phase), seq: a.op_seq[number],
      peer: a.op_peer[number], tag: a.op_tag[number], bytes: a.op_bytes[number], flops: a.op_flops[number],
      otherBytes: a.op_other_bytes[number], kernels: a.op_kernels[number],
    };
  }

  // The op whose issue let this span's waiting end, and when that was; null when nobody was waited for.
  lastToCome(span) {
    const { spans, arrays, placed } = this;
    if (!this.predicted) {
      const op = arrays.op_last[spans.op[span]];
      return op < 0 ? null : { op, at: arrays.op_issue[op] };
    }
    const met = spans.met[span];
    if (met < 0) return null;
    let latest = -1;
    for (let edge = arrays.edge_first[met]; edge < arrays.edge_first[met + 1]; edge++) {
      const node = arrays.edge_from[edge];
      if (latest < 0 || placed.end[node] > placed.end[latest]) latest = node;
    }
    return { op: this.opOfNode(latest), at: placed.end[latest] };
  }

  // Ops of nodes on ranks' own streams; made when first asked for.
  opOfNode(node) {
    if (!this.opAt) {
      this.opAt = new Map();
      for (let o = 0; o < this.arrays.own.length; o += 4) this.opAt.set(this.arrays.own[o + 1], this.arrays.own[o + 3]);
    }
    return this.opAt.get(node);
  }

  // How many ranks compute, are in communication, wait and are idle at a time.
  doing(time) {
    const counts = [0, 0, 0, 0], { start, end, activity } = this.spans;
    for (const { own: [from, to] } of this.lanes) {
      const at = firstAbove(end, time, from, to);
      counts[at < to && start[at] <= time ? activity[at] : 3] += 1;
    }
    return counts;
  }
}

// Whether two settings have the same numbers; which choice they began with does not matter.
function sameSetting(one, other) {
  return Object.keys(other).every((name) => name === "choice" || one[name] === other[name]);
}
