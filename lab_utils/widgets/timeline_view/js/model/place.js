// The simulator once more, for sliders: the same sums in the same order as timeline/simulator/placing_loop.py and
// timeline/hardware/model.py, so the same bits. test_browser_place_js.py holds the two together.
const FREE = 0, ISSUE = 1, FIRST_COMPUTE = 2; // classes of cost
const ALGORITHMS = ["ring", "tree", "gloo", "two_level", "rings"], WIRE_ROW = 4 * ALGORITHMS.length;

// Seconds that each class of nodes takes. setting: numbers of a hardware, or of a schedule's costs (sliders.py).
function costs(arrays, setting) {
  return "comm" in setting ? scheduleCosts(arrays, setting) : traceCosts(arrays, setting);
}

// Seconds that each class of edges adds: within a rank nothing travels.
function lags({ comm = 0 }) {
  return [0, comm];
}

// As schedule/costs.py says: kind by kind (F, B, W, BW), a class for each stage.
function scheduleCosts(arrays, setting) {
  const [f, b, w] = ["forward", "backward_input", "backward_weight"].map((name) =>
    arrays[name].map((stage) => stage * setting[name]));
  return Float64Array.of(...f, ...b, ...w, ...b.map((seconds, stage) => seconds + w[stage]));
}

// As predicted.costs says.
function traceCosts(arrays, h) {
  const { compute } = arrays, rows = arrays[`wire_rows_${h.layout}`];
  const computes = compute.length / 5, wires = rows.length / WIRE_ROW;
  const cost = new Float64Array(FIRST_COMPUTE + computes + wires);
  cost[ISSUE] = h.issue_s;
  let at = FIRST_COMPUTE;
  for (let c = 0; c < computes; c++) cost[at++] = computeSeconds(compute.subarray(5 * c, 5 * c + 5), h);
  for (let w = 0; w < wires; w++) cost[at++] = wireSeconds(rows.subarray(WIRE_ROW * w, WIRE_ROW * (w + 1)), h);
  return cost;
}

// Roofline of the kernels with FLOPs, bytes of the others, launches; or as measured, where there is no device.
function computeSeconds([flops, flopBytes, otherBytes, kernels, measured_s], h) {
  if (h.flops_per_s === null) return measured_s * h.compute_scale;
  const roofline_s = Math.max(flops / h.flops_per_s, flopBytes / h.memory_bytes_per_s);
  return (roofline_s + otherBytes / h.memory_bytes_per_s + kernels * h.launch_s) * h.compute_scale;
}

function wireSeconds(rows, h) {
  const seconds = ALGORITHMS.map((_, a) => alphaBeta(rows.subarray(4 * a, 4 * a + 4), h, ALGORITHMS[a] === "rings"));
  const chosen = h.algorithm === "best" ? Infinity : seconds[ALGORITHMS.indexOf(h.algorithm)];
  return Number.isFinite(chosen) ? chosen : Math.min(...seconds);
}

function alphaBeta([rounds, bytes, roundsAcross, bytesAcross], h, atOnce) {
  const latencyAcross = h.across_latency_s ?? h.latency_s, bandwidthAcross = h.across_bytes_per_s ?? h.bytes_per_s;
  if (atOnce) {
    const latency_s = rounds * h.latency_s + roundsAcross * latencyAcross;
    return latency_s + Math.max(bytes / h.bytes_per_s, bytesAcross / bandwidthAcross);
  }
  return rounds * h.latency_s + bytes / h.bytes_per_s + roundsAcross * latencyAcross + bytesAcross / bandwidthAcross;
}

// When each node of a program runs: {start, end}. A circle is an error: Python never sends a program that has one.
// Until a node is placed its end says who waits for it, as in simulator/placing_loop.py: -1 nobody, -2 - s stream s.
function place(program, cost, lag) {
  const { first, cost_class: costClass, edge_first: edgeFirst, edge_from: edgeFrom, edge_class: edgeClass } = program;
  const streams = first.length - 1, nodes = costClass.length;
  const start = new Float64Array(nodes), end = new Float64Array(nodes).fill(-1), reached = first.slice(0, streams);
  const following = new Int32Array(streams).fill(-1); // the stream that waits for the same node
  const ready = Array.from({ length: streams }, (_, s) => streams - 1 - s);
  let placed = 0;
  while (ready.length) {
    const stream = ready.pop(), last = first[stream + 1], from = reached[stream];
    let node = from, now = node > first[stream] ? end[node - 1] : 0;
    for (; node < last; node++) {
      let at = now, missing = -1;
      for (let edge = edgeFirst[node]; edge < edgeFirst[node + 1] && missing < 0; edge++) {
        const arrives = end[edgeFrom[edge]];
        if (arrives < 0) missing = edgeFrom[edge];
        else at = Math.max(at, arrives + lag[edgeClass[edge]]);
      }
      if (missing >= 0) {
        following[stream] = -2 - end[missing];
        end[missing] = -2 - stream;
        break;
      }
      let waiter = -2 - end[node];
      now = at + cost[costClass[node]];
      start[node] = at, end[node] = now;
      for (; waiter >= 0; waiter = following[waiter]) ready.push(waiter);
    }
    reached[stream] = node;
    placed += node - from;
  }
  if (placed < nodes) throw new Error(`${nodes - placed} of ${nodes} nodes wait for each other in a circle`);
  return { start, end };
}

// Nodes that follow one another without a gap and end last, as Placement.critical_path: first to last.
function criticalPath(program, { start, end }, lag) {
  let node = end.reduce((latest, at, n) => (at > end[latest] ? n : latest), 0);
  const path = [];
  while (node >= 0 && end.length) {
    path.push(node);
    node = decidedBy(program, node, start, end, lag);
  }
  return path.reverse();
}

// The node whose end let this one start, -1 for one that waited for nothing; the stream's own counts first.
function decidedBy(program, node, start, end, lag) {
  const { first, edge_first: edgeFirst, edge_from: edgeFrom, edge_class: edgeClass } = program;
  const stream = firstAbove(first, node, 0, first.length) - 1;
  if (node > first[stream] && end[node - 1] === start[node]) return node - 1;
  for (let edge = edgeFirst[node]; edge < edgeFirst[node + 1]; edge++)
    if (end[edgeFrom[edge]] + lag[edgeClass[edge]] === start[node]) return edgeFrom[edge];
  return -1;
}
