// Parts of ScheduleExplorer's card (widget.py): what people read, press and turn.

// JupyterLab has commands on plain keys, which it takes from whatever has the focus, unless that itself says no.
const NO_COMMANDS = { "data-lm-suppress-shortcuts": "true" };
const TAKES_KEYS = ["button", "input", "select", "summary", "textarea"];

function add(parent, tag, name = "", words = "", attributes = {}) {
  const node = document.createElement(tag);
  if (TAKES_KEYS.includes(tag)) attributes = { ...NO_COMMANDS, ...attributes };
  if (name) node.className = `lab-sx-${name}`;
  node.textContent = words;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return parent.appendChild(node);
}

// What did not change is left alone, so that nobody is told of it again.
function say(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function addButton(parent, words, act, attributes = {}) {
  const button = add(parent, "button", "button", words, { type: "button", ...attributes });
  button.addEventListener("click", act);
  return button;
}

// A choice among {value: words}; returns the select.
function addChoice(parent, label, choices, act) {
  const box = add(parent, "label", "choice", `${label} `), select = add(box, "select", "", "", { "aria-label": label });
  for (const [value, words] of Object.entries(choices)) add(select, "option", "", words, { value });
  select.addEventListener("change", () => act(select.value));
  return select;
}

const amount = (value) => `${+value.toPrecision(4)}`;
