// What widgets share whose picture Python draws: the card, the picture in it, and words that screen readers speak.

const CLASSES = "lab-card-", NS = "http://www.w3.org/2000/svg";

function addShape(parent, tag, attributes, content = "") {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = content;
  return parent.appendChild(node);
}

function addCard(el, name) {
  return add(el, "div", `lab-card lab-${name}-card`, "", { tabindex: 0, role: "group", ...NO_COMMANDS });
}

function addSays(parent) {
  return add(parent, "div", "says", "", { role: "status", "aria-live": "polite" });
}

// Where much changes fast, it is shown and not read out.
function tell(says, lines, aloud = true) {
  says.setAttribute("aria-live", aloud ? "polite" : "off");
  says.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
}

// The picture as Python drew it. What its marks say moves out of their titles: the browser would show it twice.
function readPicture(text) {
  const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
  svg.style.minWidth = `${svg.viewBox.baseVal.width}px`; // text keeps its size: what is too wide is scrolled
  const said = new Map();
  for (const title of svg.querySelectorAll(":scope * > title")) {
    said.set(title.parentNode, title.textContent);
    title.remove();
  }
  return { svg, said };
}

// draw(number) of the widest of the pictures, the widest first, that fits into the holder, and again as that changes.
function onWidth(holder, pictures, draw) {
  const widths = pictures.map((svg) => Number(/viewBox="0 0 ([0-9.]+)/.exec(svg)[1]));
  let drawn = -1;
  const fit = () => {
    const room = holder.clientWidth || Infinity, fits = widths.findIndex((width) => width <= room + 1);
    const number = fits < 0 ? widths.length - 1 : fits;
    if (number !== drawn) draw((drawn = number));
    const scrolls = holder.scrollWidth > holder.clientWidth; // what is still too wide, by keys too
    if (scrolls) holder.tabIndex = 0;
    else holder.removeAttribute("tabindex");
  };
  const watch = new ResizeObserver(fit);
  watch.observe(holder);
  fit();
  return () => watch.disconnect();
}

// act(node) when the pointer comes to another node, act(null) when it leaves the picture.
function onPointed(picture, act) {
  picture.addEventListener("pointerover", (event) => act(event.target));
  picture.addEventListener("pointerleave", () => act(null));
}

// actions: {key: function}. With control and the like, and space on a button, keys mean what they mean elsewhere.
function onKeys(root, actions) {
  root.addEventListener("keydown", (event) => {
    const pressed = event.key === " " && event.target.tagName === "BUTTON";
    if (!actions[event.key] || pressed || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
    actions[event.key]();
  });
}
