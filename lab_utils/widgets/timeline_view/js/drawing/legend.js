// Swatches, painted as the picture is, and a note below them, which is returned.
// label: of the list; entries: [number of the paint, meaning].
function addLegend(parent, label, entries, style, note) {
  const list = add(parent, "ul", "legend", "", { "aria-label": label });
  for (const [paint, meaning] of entries) {
    const entry = add(list, "li"), swatch = add(entry, "canvas", "swatch", "", { "aria-hidden": "true" });
    const surface = new Surface(swatch, style);
    style.paint(() => {
      surface.clear(20, 11);
      surface.box(paint === null ? style.colors.lane : surface.fills[paint], 0, 0, 20, 11);
    });
    add(entry, "span", "", meaning);
  }
  return note && add(list, "li", "note", note);
}
