// Numbers and marks in words, as text.py, timeline/timeline.py, layout.py and marks.py say them.
const TIME_UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]];
const BYTE_UNITS = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
const FLOP_UNITS = [[1e15, "PFLOP"], [1e12, "TFLOP"], [1e9, "GFLOP"], [1e6, "MFLOP"]];

function threeDigits(value) {
  const decimals = Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0;
  return withCommas(value.toFixed(decimals));
}

function withCommas(digits) {
  const [whole, ...decimals] = digits.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...decimals].join(".");
}

function timeUnit(seconds) {
  return TIME_UNITS.find(([size]) => Math.abs(seconds) >= size) ?? TIME_UNITS.at(-1);
}

function timeText(seconds) {
  const [size, name] = timeUnit(seconds), digits = threeDigits(seconds / size);
  return /[1-9]/.test(digits) ? `${digits} ${name}` : "0 s";
}

function bytesText(bytes) {
  const unit = BYTE_UNITS.find(([size]) => bytes >= size);
  if (unit) return `${threeDigits(bytes / unit[0])} ${unit[1]}`;
  return counted(bytes, WORDS.one_byte, WORDS.bytes);
}

function flopsText(flops) {
  const unit = FLOP_UNITS.find(([size]) => flops >= size);
  return unit ? `${threeDigits(flops / unit[0])} ${unit[1]}` : fill(WORDS.flop, { count: flops });
}

function percentText(fraction) {
  return `${(100 * fraction).toFixed(1)} %`;
}

function ranksText(ranks) {
  return counted(ranks, WORDS.one_rank, WORDS.ranks);
}

function counted(count, one, many) {
  return fill(count === 1 ? one : many, { count });
}

// "measured", or "predicted for H100 cluster"
function kindText({ kind, name }) {
  return name ? fill(WORDS.predicted_for, { kind, name }) : kind;
}

function headline(figure) {
  const { ranks, sums: { makespan, bubble, exposed } } = figure;
  return fill(WORDS.headline, {
    kind: kindText(figure), ranks: ranksText(ranks), makespan: timeText(makespan), bubble: percentText(bubble),
    exposed: timeText(exposed),
  });
}

// Round ticks that lie in from .. to: {unit, ticks: [[seconds, words]]}; fewer than `most` steps.
function timeAxis(from, to, makespan, most) {
  const [size, unit] = timeUnit(makespan), length = (to - from) / size;
  if (!(length > 0)) return { unit, ticks: [[0, "0"]] };
  const { step, decimals } = roundStep(length, most - 1e-9), ticks = [];
  for (let k = Math.ceil(from / size / step - 1e-9); k * step <= to / size + 1e-9 * step; k++) {
    ticks.push([k * step * size, k ? withCommas((k * step).toFixed(decimals)) : "0"]);
  }
  return { unit, ticks };
}

// What a mark tells: lines of words. `origin`: what the picture calls time 0.
function spanLines(figure, span) {
  const { spans, origin } = figure, op = figure.op(spans.op[span]);
  const activity = figure.about.activities[spans.activity[span]];
  const start = timeText(spans.start[span] - origin), duration = timeText(spans.end[span] - spans.start[span]);
  return [
    opText(op),
    sizeText(op),
    [op.source, op.phase && fill(WORDS.phase, op)].filter(Boolean).join(" · "),
    waitText(figure, span),
    fill(WORDS.activity, { rank: spans.rank[span], activity, start, duration }),
  ].filter(Boolean);
}

function opText(op) {
  const { kind, group, peer } = op, name = op.run_as ? `${op.name} · ${fill(WORDS.run_as, op)}` : op.name;
  if (kind === "collective") return `${name} · ${fill(WORDS.group, { ...op, group: group || WORDS.world })}`;
  return peer < 0 ? name : `${name} · ${fill(kind === "send" ? WORDS.to_rank : WORDS.from_rank, op)}`;
}

function sizeText(op) {
  const bytes = op.bytes + op.otherBytes;
  return [
    bytes && bytesText(bytes), op.flops && flopsText(op.flops),
    op.kernels && counted(op.kernels, WORDS.one_kernel, WORDS.kernels),
  ].filter(Boolean).join(" · ");
}

// Whom a rank waits for: who came last to the op that holds it.
function waitText(figure, span) {
  const { spans } = figure, waits = spans.activity[span] === WAITING, last = figure.lastToCome(span);
  if (!last) return waits ? WORDS.no_partner : "";
  if (last.at <= spans.start[span] && waits) return WORDS.wire_busy;
  const op = figure.op(last.op);
  if (op.rank === spans.rank[span]) return "";
  const source = op.source && ` (${op.source})`;
  const time = timeText(last.at - figure.origin);
  const queues = waits && figure.predicted && last.at < spans.end[span]; // on the wire
  return fill(queues ? WORDS.waits_and_queues : waits ? WORDS.waits : WORDS.waited, { rank: op.rank, source, time });
}

// Words for several spans too thin to be told apart.
function manyLines(figure, [from, to], seconds) {
  const names = figure.about.paint_names, { spans, origin } = figure;
  const parts = seconds.flatMap((sum, paint) => (sum ? [`${names[paint]} ${timeText(sum)}`] : []));
  const start = timeText(spans.start[from] - origin), duration = timeText(spans.end[to - 1] - spans.start[from]);
  return [
    fill(WORDS.short_stretches, { count: to - from }), parts.join(", "),
    fill(WORDS.when_on_rank, { rank: spans.rank[from], start, duration }),
  ];
}

// "at 12.3 ms: 3 of 4 ranks compute, 1 waits"
function doingText(figure, time) {
  const [compute, communication, waiting, idle] = figure.doing(time);
  const parts = [
    [compute, WORDS.one_computes, WORDS.compute_many],
    [communication, WORDS.one_communicates, WORDS.communicate_many],
    [waiting, WORDS.one_waits, WORDS.wait_many], [idle, WORDS.one_idle, WORDS.idle_many],
  ].flatMap(([n, one, many]) => (n ? [counted(n, one, many)] : []));
  const ranks = ranksText(figure.ranks);
  return fill(WORDS.doing, { time: timeText(time - figure.origin), ranks, parts: parts.join(", ") });
}
