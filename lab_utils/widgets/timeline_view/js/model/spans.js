// Spans of a placed program, in the order and with the bits of timeline/simulator/simulate.py; and their sums.
const OWN = 0, WIRE = 1;
const COMPUTE = 0, COMMUNICATION = 1, WAITING = 2;
const SPAN_COLUMNS = {
  rank: Int32Array, lane: Uint8Array, track: Int32Array, activity: Uint8Array,
  start: Float64Array, end: Float64Array, op: Int32Array, node: Int32Array, met: Int32Array,
};

class SpanList {
  // Room for `most` spans. node: the node of the program that it shows; met: the node on the wire that it waits for.
  constructor(most) {
    for (const [name, Type] of Object.entries(SPAN_COLUMNS)) this[name] = new Type(most);
    this.length = 0;
  }

  // Spans without length are left out.
  add(rank, lane, track, activity, start, end, op, node, met) {
    if (!(end > start)) return;
    const at = this.length++;
    this.rank[at] = rank, this.lane[at] = lane, this.track[at] = track, this.activity[at] = activity;
    this.start[at] = start, this.end[at] = end, this.op[at] = op, this.node[at] = node, this.met[at] = met;
  }

  done() {
    for (const name of Object.keys(SPAN_COLUMNS)) this[name] = this[name].subarray(0, this.length);
    return this;
  }
}

// When the last rank that a node on the wire needs had issued it.
function readyAt({ edge_first: edgeFirst, edge_from: edgeFrom }, end, node) {
  let ready = 0;
  for (let edge = edgeFirst[node]; edge < edgeFirst[node + 1]; edge++) ready = Math.max(ready, end[edgeFrom[edge]]);
  return ready;
}

// own, wire: rows of 4, rank by rank; classes of cost from firstCompute on are computing.
function spansOf(arrays, firstCompute, { start, end }) {
  const { own, wire, first, cost_class: costClass } = arrays;
  const spans = new SpanList((own.length + wire.length) / 2);
  let w = 0;
  for (let o = 0; o < own.length || w < wire.length; ) {
    const rank = Math.min(o < own.length ? own[o] : Infinity, w < wire.length ? wire[w] : Infinity);
    for (; o < own.length && own[o] === rank; o += 4) {
      const node = own[o + 1], met = own[o + 2], op = own[o + 3];
      if (met < 0) {
        const activity = costClass[node] >= firstCompute ? COMPUTE : COMMUNICATION;
        spans.add(rank, OWN, 0, activity, start[node], end[node], op, node, -1);
        continue;
      }
      // It blocks from the end of the node before.
      const begins = node > first[rank] ? end[node - 1] : 0, ends = end[node];
      const turns = Math.min(Math.max(readyAt(arrays, end, met), begins), ends);
      spans.add(rank, OWN, 0, WAITING, begins, turns, op, node, met);
      spans.add(rank, OWN, 0, COMMUNICATION, turns, ends, op, node, met);
    }
    const from = w;
    while (w < wire.length && wire[w] === rank) w += 4;
    addWire(spans, wire, from, w, start, end);
  }
  return spans.done();
}

// One rank's ops on the wire, each on the lowest track that is free when it is issued; in order of the tracks.
function addWire(spans, wire, from, to, start, end) {
  const free = [], onTrack = [];
  for (let w = from; w < to; w += 4) {
    const issued = end[wire[w + 1]], node = wire[w + 2];
    let track = free.findIndex((at) => at <= issued);
    if (track < 0) track = free.length, onTrack.push([]);
    free[track] = end[node];
    onTrack[track].push(w);
  }
  onTrack.forEach((rows, track) => {
    for (const w of rows) {
      const [rank, issue, node, op] = wire.subarray(w, w + 4);
      spans.add(rank, WIRE, track, WAITING, end[issue], start[node], op, node, node);
      spans.add(rank, WIRE, track, COMMUNICATION, start[node], end[node], op, node, node);
    }
  });
}

// Where each lane's spans lie: lanes[rank] = {own: [from, to], wire: [[from, to] of each track]}.
function lanesOf(spans, ranks) {
  const lanes = Array.from({ length: ranks }, () => ({ own: [0, 0], wire: [] }));
  const { rank, lane, track } = spans, length = rank.length;
  for (let from = 0, to; from < length; from = to) {
    to = from + 1;
    while (to < length && rank[to] === rank[from] && lane[to] === lane[from] && track[to] === track[from]) to++;
    const mine = lanes[rank[from]];
    if (lane[from] === OWN) mine.own = [from, to];
    else {
      while (mine.wire.length < track[from]) mine.wire.push([0, 0]); // Python may leave a track without a span
      mine.wire.push([from, to]);
    }
  }
  return lanes;
}

// Seconds of each rank's own stream by activity, and what the headline tells of all ranks.
function sums(spans, lanes, makespan) {
  const byRank = lanes.map(({ own: [from, to] }) => {
    const parts = [0, 0, 0];
    for (let s = from; s < to; s++) parts[spans.activity[s]] += spans.end[s] - spans.start[s];
    const idle = Math.max(0, makespan - parts[0] - parts[1] - parts[2]);
    const bubble = makespan ? 1 - Math.min(1, parts[COMPUTE] / makespan) : 0;
    return { compute: parts[COMPUTE], communication: parts[COMMUNICATION], waiting: parts[WAITING], idle, bubble };
  });
  const total = (name) => byRank.reduce((sum, parts) => sum + parts[name], 0), ranks = byRank.length;
  const bubble = makespan && ranks ? 1 - Math.min(1, total("compute") / (ranks * makespan)) : 0;
  return { byRank, makespan, bubble, exposed: ranks ? total("communication") / ranks : 0 };
}
