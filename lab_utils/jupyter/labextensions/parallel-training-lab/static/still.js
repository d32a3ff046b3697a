// A notebook keeps with each picture to touch a still one. JupyterLab prefers the first even when no kernel is left
// that knows it, and says "model not found": here the still picture stands until the living one is there, and after it
// is gone.
// Still pictures of the lab are light. Under a dark theme their colours become dark ones, and again when it changes; and
// one unit of theirs is one pixel, where a cell is wide enough.
// A module of JupyterLab's own kind (a container of module federation), written by hand: nothing is to be built.

(() => {
  const LIVE = "application/vnd.jupyter.widget-view+json", STILL = "image/svg+xml";
  const NAME = "parallel-training-lab";
  // Colours of pictures, light: dark. As render/palette.py has them, which tests/render/test_palette.py holds.
  const DARK = {
    "#fcfcfa": "#212121", "#d8d8d3": "#4c4f52", "#f1f1ed": "#151617", "#dcdcd6": "#3b3e41", "#8f78c2": "#9b86d6",
    "#1f2328": "#e8eaed", "#57606a": "#a9b1ba", "#ffffff": "#14171a", "#b84a00": "#ff914d", "#0072b2": "#55b4f0",
    "#e69f00": "#855800", "#a06800": "#dba33c", "#f3dbe8": "#4b2a3d", "#b0568a": "#d884b3", "#00805e": "#2fbf94",
    "#56b4e9": "#1d5a80", "#1f78a8": "#6fc0ee", "#d7e3ee": "#2b4256", "#ece3c8": "#4d4324", "#d9e8d6": "#2d482a",
    "#eadcd6": "#503629", "#dedaea": "#3f3960", "#d3e8e6": "#22494a", "#e6e4dc": "#454339", "#efdbe4": "#532f41",
    "#a9d3f0": "#1d5680", "#f8d48a": "#75540c", "#9fd9c3": "#1a6148", "#f4b899": "#84431d", "#e5b8d3": "#713c60",
    "#f1e98c": "#625b0e", "#b9c3ea": "#434e92", "#cfcfc8": "#53534d", "#e8e8f4": "#30304a", "#7f7fb8": "#9292cf",
    "#007a5a": "#33c79c", "#a8457f": "#e086bb", "#8a5a00": "#cfa254", "#c5dff0": "#1a3f58", "#c4e7dc": "#154636",
    "#f9e2b8": "#543e0c", "#efd3e2": "#582a44", "#dcdfe3": "#3a3f45", "#2b86bb": "#a9daf6", "#d8ecf8": "#27495e",
    "#8c8f8b": "#7f8388", "#7d858e": "#8f98a1",
  };
  const OURS = /^<svg [^>]*viewBox="0 0 ([0-9.]+) [^>]*aria-describedby="(p[0-9a-f]{8})-desc"[^>]*><title id="\2-title">/;
  const HEAD = 1500; // characters in which the beginning of a picture of the lab ends
  let shared;

  // A module that JupyterLab and its extensions share: there is one version of each.
  async function module(name) {
    const [entry] = Object.values(shared[name] ?? {});
    return entry && (await entry.get())();
  }

  // Renderers of widgets show the still picture too, whatever notebook they are made for.
  function keepStill(registry) {
    const factory = registry.getFactory(LIVE);
    if (!factory) return;
    const sample = factory.createRenderer({ mimeType: LIVE }), renderer = Object.getPrototypeOf(sample);
    sample.dispose();
    const live = renderer.renderModel;
    if (!live) return; // of another make than this knows: it is left as it is
    renderer.renderModel = function (model) {
      return model.data[STILL] ? withStill(this, model, live.call(this, model), registry) : live.call(this, model);
    };
  }

  // `arrives`: the promise of the living picture, which has just said that it loads.
  async function withStill(renderer, model, arrives, registry) {
    const still = registry.createRenderer(STILL);
    renderer.disposed.connect(() => still.dispose());
    await still.renderModel(model);
    const show = () => {
      if (renderer.isDisposed) return;
      renderer.node.replaceChildren(still.node);
      renderer.show();
    };
    if (!renderer.widgets.length) show();
    await arrives;
    const [view] = renderer.widgets;
    if (view) view.disposed.connect(show);
    else show();
  }

  function isDark() {
    return document.body.dataset.jpThemeLight === "false";
  }

  function darkened(svg) {
    return svg.replace(/(fill|stroke)="(#[0-9a-f]{6})"/g, (all, name, colour) => `${name}="${DARK[colour] ?? colour}"`);
  }

  // A still picture of the lab in the theme's colours, whoever shows it; other people's pictures are as they were.
  function followTheme(registry) {
    if (!registry.getFactory(STILL)) return;
    const sample = registry.createRenderer(STILL), renderer = Object.getPrototypeOf(sample), shown = new Map();
    sample.dispose();
    const { render } = renderer;
    if (!render) return;

    renderer.render = async function (model) {
      const svg = `${model.data[STILL] ?? ""}`, ours = model.trusted && OURS.exec(svg.slice(0, HEAD));
      if (!ours) return render.call(this, model);
      if (!shown.has(this)) this.disposed.connect(() => shown.delete(this));
      shown.set(this, model);
      const { trusted, metadata } = model, data = { ...model.data, [STILL]: isDark() ? darkened(svg) : svg };
      await render.call(this, { trusted, metadata, data });
      const image = this.node.querySelector("img");
      if (!image) return; // not trusted
      image.alt = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement.getAttribute("aria-label");
      Object.assign(image.style, { width: "100%", maxWidth: `${ours[1]}px`, height: "auto" });
    };

    let dark = isDark();
    new MutationObserver(() => {
      if (dark === isDark()) return;
      dark = isDark();
      for (const [one, model] of shown) {
        one.node.replaceChildren();
        one.render(model);
      }
    }).observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  }

  async function plugin() {
    const { IRenderMimeRegistry } = await module("@jupyterlab/rendermime");
    const widgets = await module("@jupyter-widgets/base");
    return {
      id: `${NAME}:still`, autoStart: true, requires: [IRenderMimeRegistry],
      optional: widgets ? [widgets.IJupyterWidgetRegistry] : [], // so that renderers of widgets are there before
      activate: (_, registry) => (followTheme(registry), keepStill(registry)),
    };
  }

  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB[NAME] = {
    init: (scope) => { shared = scope; },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    },
  };
})();
