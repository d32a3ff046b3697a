// What each rank holds over time, with the bits of timeline/memory.py and schedule/costs.py.

// {first, time, held: steps of all ranks, rank r from first[r] on; most: the highest of all; words: each rank's peak}
function memoryOf(figure, unit) {
  const { arrays } = figure, { memory_first: first, memory_time: time, memory_held: held } = arrays;
  const steps = arrays.op_live ? byOps(figure) : arrays.op_held ? byChanges(figure) : { first, time, held };
  const peaks = Array.from({ length: figure.ranks }, (_, rank) =>
    highest(steps.held, steps.first[rank], steps.first[rank + 1]));
  const words = peaks.map((peak) => (unit === "bytes" ? bytesText(Math.round(peak)) : fill(WORDS.at_most, { peak })));
  return { ...steps, most: highest(peaks, 0, peaks.length) || 1, words };
}

// From the ops of a trace: how it rises while each computes, then what is left.
function byOps({ spans, lanes, arrays: { op_live: live, op_rise_first: rises, rise_part: part, rise_held: risen } }) {
  const time = [], held = [], first = [0];
  for (const { own: [from, to] } of lanes) {
    for (let span = from; span < to; span++) {
      const op = spans.op[span];
      if (spans.activity[span] !== COMPUTE || Number.isNaN(live[op])) continue;
      const start = spans.start[span], end = spans.end[span];
      for (let r = rises[op]; r < rises[op + 1]; r++) time.push(start + part[r] * (end - start)), held.push(risen[r]);
      time.push(end), held.push(live[op]);
    }
    first.push(time.length);
  }
  return { first, time, held };
}

// From the ops of a schedule: what one takes is held from its start on, what one lets go until its end; at one time
// what is let go comes first.
function byChanges({ ranks, placed: { start, end }, arrays: { op_held: change, first: nodes } }) {
  const time = [], held = [], first = [0], at = (node) => (change[node] > 0 ? start[node] : end[node]);
  for (let rank = 0; rank < ranks; rank++) {
    const changed = [];
    for (let node = nodes[rank]; node < nodes[rank + 1]; node++) if (change[node]) changed.push(node);
    changed.sort((a, b) => at(a) - at(b) || change[a] - change[b] || a - b);
    let now = 0;
    for (const node of changed) time.push(at(node)), held.push((now += change[node]));
    first.push(time.length);
  }
  return { first, time, held };
}

function highest(values, from, to) {
  let most = 0;
  for (let at = from; at < to; at++) most = Math.max(most, values[at]);
  return most;
}
