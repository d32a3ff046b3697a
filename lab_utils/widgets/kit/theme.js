// A canvas's style as JupyterLab's theme wants it. What was painted with it is painted again when the theme changes.

function isDark() {
  return document.body.dataset.jpThemeLight === "false";
}

class Theme {
  // given: a style with light colours, and the same in the dark (render/palette.py).
  constructor({ dark, ...light }) {
    Object.assign(this, { light, dark, draws: [] });
    this.style = { paint: (draw) => (this.draws.push(draw), draw()) };
    this.dress();
    this.watch = new MutationObserver(() => this.style.dark === isDark() || this.dress());
    this.watch.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  }

  dress() {
    Object.assign(this.style, isDark() ? this.dark : this.light, { dark: isDark() });
    for (const draw of this.draws) draw();
  }

  leave() {
    this.watch.disconnect();
  }
}
