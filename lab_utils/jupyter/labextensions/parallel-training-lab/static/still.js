// A notebook keeps with each picture to touch a still one. JupyterLab prefers the first even when no kernel is left
// that knows it, and says "model not found": here the still picture stands until the living one is there, and after it
// is gone.
// A module of JupyterLab's own kind (a container of module federation), written by hand: nothing is to be built.

(() => {
  const LIVE = "application/vnd.jupyter.widget-view+json", STILL = "image/svg+xml";
  const NAME = "parallel-training-lab";
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

  async function plugin() {
    const { IRenderMimeRegistry } = await module("@jupyterlab/rendermime");
    const widgets = await module("@jupyter-widgets/base");
    return {
      id: `${NAME}:still`, autoStart: true, requires: [IRenderMimeRegistry],
      optional: widgets ? [widgets.IJupyterWidgetRegistry] : [], // so that renderers of widgets are there before
      activate: (_, registry) => keepStill(registry),
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
