// What the keys do, in a list that "?" opens and closes: a button, and the key itself wherever no text is written.

// keys: {key: what it does}. The list comes after `row`.
function addKeyHelp(root, row, keys) {
  const id = `lab-keys-${Math.random().toString(36).slice(2)}`;
  const list = add(root, "div", "lab-keys", "", { id, role: "list", hidden: "" }); // JupyterLab has its own look for dl
  for (const [key, does] of Object.entries(keys)) {
    const line = add(list, "div", "", "", { role: "listitem" });
    for (const one of key.split(" ")) add(line, "kbd", "", one);
    add(line, "span", "", does);
  }
  row.after(list);
  const named = { ...labelled(WORDS.what_keys_do), "aria-expanded": "false", "aria-controls": id, "data-local": "true" };
  const button = addButton(row, "?", toggle, named);

  function toggle() {
    list.hidden = !list.hidden;
    button.setAttribute("aria-expanded", `${!list.hidden}`);
  }

  root.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.target.matches("textarea,input[type=text]")) return;
    event.preventDefault();
    event.stopPropagation();
    toggle();
  });
}
