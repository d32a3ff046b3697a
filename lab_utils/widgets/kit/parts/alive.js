// A widget whose kernel has ended or restarted is dead for good: no message reaches its Python. Then it says so, and
// what needs Python takes no clicks. What works without stays: controls with LOCAL.

const LOCAL = { "data-local": "true" };
const ENDED = ["restarting", "autorestarting", "terminating", "dead"];
// Each widget loads this module for itself: what one view of it has seen, its later views know.
const kernel = { id: undefined, gone: false };

class Alive {
  // The line that says it stands at the end of what is in `root` so far. act() when the kernel goes, unless the widget
  // has all that it needs: needs() is false.
  constructor(model, root, { act = () => {}, needs = () => true } = {}) {
    Object.assign(this, { model, root, needs, act: () => {} });
    this.line = add(root, "div", "lab-gone", "", { role: "status", "aria-live": "polite" });
    this.context = model.widget_manager?.context?.sessionContext;
    this.ends = () => this.end();
    this.statusIs = (_, status) => ENDED.includes(status) && this.end();
    this.kernelIs = (_, { newValue }) => newValue?.id !== kernel.id && this.end();
    model.on("comm_live_update", this.ends); // JupyterLab tells of a restart, once: a widget never lives again
    this.context?.statusChanged.connect(this.statusIs);
    this.context?.kernelChanged.connect(this.kernelIs);
    const now = this.context?.session?.kernel;
    kernel.id ??= now?.id;
    if (kernel.gone || (this.context && (!now || now.id !== kernel.id || ENDED.includes(now.status)))) this.end();
    this.act = act; // who makes this one draws after it
  }

  get gone() {
    return this.line.textContent !== "";
  }

  end() {
    kernel.gone = true;
    if (this.gone || !this.needs()) return;
    this.line.textContent = WORDS.kernel_gone;
    this.root.dataset.gone = "true";
    this.root.addEventListener("click", refuse, { capture: true });
    this.watch = new MutationObserver(() => disable(this.root)); // a view goes on drawing its own marks and buttons
    this.watch.observe(this.root, { subtree: true, childList: true });
    disable(this.root);
    this.act();
  }

  leave() {
    this.model.off("comm_live_update", this.ends);
    this.context?.statusChanged.disconnect(this.statusIs);
    this.context?.kernelChanged.disconnect(this.kernelIs);
    this.watch?.disconnect();
  }
}

// Buttons keep the focus and can be read; text can still be copied.
function disable(root) {
  for (const node of root.querySelectorAll("button,input,select,textarea")) {
    if (node.dataset.local || node.dataset.gone) continue;
    node.dataset.gone = "true";
    node.setAttribute("aria-disabled", "true");
    if (node.tagName === "TEXTAREA") node.readOnly = true;
    else if (node.tagName !== "BUTTON") node.disabled = true;
  }
}

function refuse(event) {
  if (!event.target.closest("button[data-gone]")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}
