// Elements that people read, press and turn, the same in all widgets. A widget's scripts, or the part of the kit that
// they use, say with what the names of its classes begin: const CLASSES.

// JupyterLab has commands on plain keys, which it takes from whatever has the focus, unless that itself says no.
const NO_COMMANDS = { "data-lm-suppress-shortcuts": "true" };
const TAKES_KEYS = ["button", "input", "select", "summary", "textarea"];

// name: classes, without CLASSES; one that begins with "lab-" is whole.
function add(parent, tag, name = "", words = "", attributes = {}) {
  const node = document.createElement(tag);
  if (TAKES_KEYS.includes(tag)) attributes = { ...NO_COMMANDS, ...attributes };
  if (name) node.className = name.replace(/(^| )(?!lab-)/g, `$1${CLASSES}`);
  node.textContent = words;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return parent.appendChild(node);
}

// What did not change is left alone: a selection in it stays, and screen readers do not speak it again.
function say(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function addButton(parent, words, act, attributes = {}) {
  const button = add(parent, "button", "button", words, { type: "button", ...attributes });
  button.addEventListener("click", act);
  return button;
}

// For a button that shows a sign: what it does, for the pointer and for screen readers.
function labelled(words) {
  return { title: words, "aria-label": words };
}
