// Numbers and marks in words, as text.py, timeline/export/words.py, layout.py and marks.py say them.
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
  if (seconds === 0) return "0 s";
  const [size, name] = timeUnit(seconds);
  return `${threeDigits(seconds / size)} ${name}`;
}

function bytesText(bytes) {
  const unit = BYTE_UNITS.find(([size]) => bytes >= size);
  if (unit) return `${threeDigits(bytes / unit[0])} ${unit[1]}`;
  return bytes === 1 ? "1 byte" : `${bytes} bytes`;
}

function flopsText(flops) {
  const unit = FLOP_UNITS.find(([size]) => flops >= size);
  return unit ? `${threeDigits(flops / unit[0])} ${unit[1]}` : `${flops} FLOP`;
}

function percentText(fraction) {
  return `${(100 * fraction).toFixed(1)} %`;
}

function ranksText(ranks) {
  return ranks === 1 ? "1 rank" : `${ranks} ranks`;
}

function headline({ kind, ranks, sums: { makespan, bubble, exposed } }) {
  return `Timeline of ${ranksText(ranks)} (${kind}): makespan ${timeText(makespan)}, bubble fraction ` +
    `${percentText(bubble)}, exposed communication ${timeText(exposed)} a rank on average.`;
}

// Round ticks that lie in from .. to: {unit, ticks: [[seconds, words]]}; the step is 1, 2 or 5 × 10^k.
function timeAxis(from, to, makespan, most) {
  const [size, unit] = timeUnit(makespan), length = (to - from) / size;
  if (!(length > 0)) return { unit, ticks: [[0, "0"]] };
  const power = Math.floor(Math.log10(length)) - 1;
  const steps = [0, 1, 2].flatMap((more) => [1, 2, 5].map((factor) => [factor, power + more]));
  const [factor, exponent] = steps.find(([f, e]) => length / (f * 10 ** e) < most);
  const step = factor * 10 ** exponent, decimals = Math.max(0, -exponent), ticks = [];
  for (let k = Math.ceil(from / size / step - 1e-9); k * step <= to / size + 1e-9 * step; k++) {
    ticks.push([k * step * size, k ? withCommas((k * step).toFixed(decimals)) : "0"]);
  }
  return { unit, ticks };
}

// What a mark tells: lines of words. `origin`: what the picture calls time 0.
function spanLines(figure, span) {
  const { spans, origin } = figure, op = figure.op(spans.op[span]);
  const activity = figure.about.activities[spans.activity[span]];
  const from = timeText(spans.start[span] - origin), duration = timeText(spans.end[span] - spans.start[span]);
  return [
    opText(op),
    sizeText(op),
    [op.source, op.phase && `phase ${op.phase}`].filter(Boolean).join(" · "),
    waitText(figure, span),
    `rank ${spans.rank[span]} ${activity}: start ${from}, duration ${duration}`,
  ].filter(Boolean);
}

function opText(op) {
  if (op.kind === "collective") return `${op.name} · group ${op.group || "world"}, number ${op.seq}`;
  if (op.peer < 0) return op.name;
  return `${op.name} · ${op.kind === "send" ? "to" : "from"} rank ${op.peer}, number ${op.seq}, tag ${op.tag}`;
}

function sizeText(op) {
  const bytes = op.bytes + op.otherBytes;
  return [
    bytes && bytesText(bytes), op.flops && flopsText(op.flops),
    op.kernels && (op.kernels === 1 ? "1 kernel" : `${op.kernels} kernels`),
  ].filter(Boolean).join(" · ");
}

// Whom a rank waits for: who came last to the op that holds it.
function waitText(figure, span) {
  const { spans } = figure, waits = spans.activity[span] === WAITING, last = figure.lastToCome(span);
  if (!last) return waits ? "waits for a partner whose side is not in the trace" : "";
  if (last.at <= spans.start[span] && waits) return "waits for its turn on the wire";
  const op = figure.op(last.op);
  if (op.rank === spans.rank[span]) return "";
  const source = op.source && ` (${op.source})`;
  const came = timeText(last.at - figure.origin);
  return `${waits ? "waits" : "waited"} for rank ${op.rank}${source}, which came at ${came}`;
}

// Words for several spans too thin to be told apart.
function manyLines(figure, [from, to], seconds) {
  const names = figure.about.paint_names, { spans, origin } = figure;
  const parts = seconds.flatMap((sum, paint) => (sum ? [`${names[paint]} ${timeText(sum)}`] : []));
  const start = timeText(spans.start[from] - origin), duration = timeText(spans.end[to - 1] - spans.start[from]);
  return [
    `${to - from} short stretches: zoom in to tell them apart`, parts.join(", "),
    `rank ${spans.rank[from]}: start ${start}, duration ${duration}`,
  ];
}

// "at 12.3 ms: 3 of 4 ranks compute, 1 waits"
function doingText(figure, time) {
  const [compute, communication, waiting, idle] = figure.doing(time);
  const parts = [
    [compute, "compute", "computes"], [communication, "communicate", "communicates"], [waiting, "wait", "waits"],
    [idle, "are idle", "is idle"],
  ].flatMap(([n, many, one]) => (n ? [`${n} ${n === 1 ? one : many}`] : []));
  return `at ${timeText(time - figure.origin)}: of ${ranksText(figure.ranks)} ${parts.join(", ")}`;
}
