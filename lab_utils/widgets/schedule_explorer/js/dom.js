// Parts of ScheduleExplorer's card (widget.py): what people read, press and turn.
const CLASSES = "lab-sx-";

// A choice among {value: words}; returns the select.
function addChoice(parent, label, choices, act) {
  const box = add(parent, "label", "choice", `${label} `), select = add(box, "select", "", "", { "aria-label": label });
  for (const [value, words] of Object.entries(choices)) add(select, "option", "", words, { value });
  select.addEventListener("change", () => act(select.value));
  return select;
}

const amount = (value) => `${+value.toPrecision(4)}`;
