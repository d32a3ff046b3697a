// TimelineView (widget.py): the card that holds the picture, and what travels between it and Python.

function render({ model, el }) {
  const theme = new Theme(model.get("_about").style), about = { ...model.get("_about"), style: theme.style };
  const arrays = unpacked(about.arrays, model.get("_data"));
  const figures = about.figures.map((figure) => new Figure(figure, arraysOf(arrays, figure.prefix), about.strings));
  const card = new Card(el, model, about, figures);
  about.style.paint(() => card.chart.scene.width && card.chart.draw());
  const watch = new ResizeObserver(([entry]) => card.chart.resize(Math.floor(entry.contentRect.width)));
  watch.observe(card.area);
  const listeners = {
    "change:_setting": () => card.follow(),
    "change:selected change:selected_measured": () => card.takeSelection(),
  };
  for (const [names, act] of Object.entries(listeners)) model.on(names, act);
  return () => {
    watch.disconnect();
    theme.leave();
    card.chart.pause();
    for (const [names, act] of Object.entries(listeners)) model.off(names, act);
  };
}

// The arrays of one figure, by their names within it.
function arraysOf(arrays, prefix) {
  const mine = Object.entries(arrays).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(mine.map(([name, array]) => [name.slice(prefix.length), array]));
}

export { arraysOf, costs, criticalPath, Figure, headline, place, render, Scene, unpacked };
export default { render };
