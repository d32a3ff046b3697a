// Parts of the card around the picture: what people read and turn.
const CLASSES = "lab-tl-";

// A slider of the browser's own, from 0 to `most`.
function addRange(parent, name, most, label) {
  return add(parent, "input", name, "", { type: "range", min: 0, max: most, step: 1, "aria-label": label });
}

// Makespan, bubble fraction and exposed communication of each figure; returns what brings them up to date.
function addNumbers(parent, figures) {
  const table = add(parent, "table", "numbers"), head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
  const several = figures.length > 1, names = [WORDS.makespan, WORDS.bubble_fraction, WORDS.exposed];
  if (several) add(head, "td");
  for (const name of names) add(head, "th", "", name, { scope: "col" });
  const rows = figures.map(({ kind }) => {
    const row = add(body, "tr");
    if (several) add(row, "th", "", kind, { scope: "row" });
    return names.map(() => add(row, "td"));
  });
  return () => rows.forEach(([makespan, bubble, exposed], at) => {
    const { sums } = figures[at], share = sums.makespan ? sums.exposed / sums.makespan : 0;
    say(makespan, timeText(sums.makespan));
    say(bubble, percentText(sums.bubble));
    say(exposed, `${timeText(sums.exposed)} (${percentText(share)})`);
  });
}

const PARTS = ["compute", "communication", "waiting", "idle"], RANKS_SHOWN = 32;
const RANK_COLUMNS = ["rank", ...PARTS, "bubble"];

// A line a rank, as the timeline's own table in words; returns what brings it up to date.
function addRanks(parent, figure, caption) {
  const table = add(parent, "table", "ranks"), shown = Math.min(figure.ranks, RANKS_SHOWN);
  add(table, "caption", "", caption);
  const head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
  for (const name of RANK_COLUMNS) add(head, "th", "", WORDS[`column_${name}`], { scope: "col" });
  const rows = Array.from({ length: shown }, (_, rank) => {
    const row = add(body, "tr");
    add(row, "th", "", `${rank}`, { scope: "row" });
    return RANK_COLUMNS.slice(1).map(() => add(row, "td"));
  });
  if (figure.ranks > shown) add(parent, "p", "more", fill(WORDS.more_ranks, { count: figure.ranks - shown }));
  return () => rows.forEach((cells, rank) => {
    const parts = figure.sums.byRank[rank];
    PARTS.forEach((name, at) => say(cells[at], timeText(parts[name])));
    say(cells[4], percentText(parts.bubble));
  });
}
