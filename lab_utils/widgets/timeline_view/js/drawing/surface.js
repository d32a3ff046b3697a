// A canvas that is sharp on every screen, with the looks of render/palette.py.

// Tiles as in render/kit.py: how wide, in CSS pixels, and how its pattern is drawn.
const TILES = {
  stripes: [8, (c) => {
    c.lineWidth = 1.6;
    for (const [x0, y0, x1, y1] of [[-1, 9, 9, -1], [-1, 1, 1, -1], [7, 9, 9, 7]]) c.moveTo(x0, y0), c.lineTo(x1, y1);
    c.stroke();
  }],
  rules: [6, (c) => c.fillRect(0, 4.6, 6, 1.4)],
  dots: [6, (c) => {
    for (const at of [1.5, 4.5]) c.moveTo(at + 0.9, at), c.arc(at, at, 0.9, 0, 7);
    c.fill();
  }],
};

// One tile of a look's ground and pattern, at `ratio` device pixels a CSS pixel.
function tileOf({ fill, pattern, pattern_ink: ink }, ratio) {
  const [size, draw] = TILES[pattern], tile = document.createElement("canvas");
  tile.width = tile.height = Math.round(size * ratio);
  const c = tile.getContext("2d"), scale = tile.width / size;
  c.scale(scale, scale);
  c.fillStyle = fill;
  c.fillRect(0, 0, size, size);
  c.fillStyle = c.strokeStyle = ink;
  c.beginPath();
  draw(c);
  return tile;
}

class Surface {
  // style: {looks, colors, font, dark} of a Theme.
  constructor(canvas, style) {
    Object.assign(this, { canvas, style, c: canvas.getContext("2d"), ratio: 0, width: 0, height: 0 });
  }

  // Empty, and so many CSS pixels large.
  clear(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const { dark } = this.style;
    if (width !== this.width || height !== this.height || ratio !== this.ratio || dark !== this.dark) {
      Object.assign(this, { width, height, ratio, dark });
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
      this.c.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.fills = this.style.looks.map((look) => this.fillOf(look));
      this.plot = new Raster(this);
    }
    this.c.clearRect(0, 0, width, height);
  }

  // What fillStyle takes for a look.
  fillOf(look) {
    if (look.pattern === "plain") return look.fill;
    const made = this.c.createPattern(tileOf(look, this.ratio), "repeat");
    made.setTransform(new DOMMatrix().scale(1 / this.ratio));
    return made;
  }

  box(fill, x, y, width, height) {
    this.c.fillStyle = fill;
    this.c.fillRect(x, y, width, height);
  }

  frame(ink, thick, x, y, width, height) {
    this.c.strokeStyle = ink;
    this.c.lineWidth = thick;
    this.c.strokeRect(x, y, width, height);
  }

  // plate: the plain ground on which words on a pattern stand
  write(words, x, y, { size = 11, weight = 400, align = "left", ink = this.style.colors.quiet_ink, plate } = {}) {
    const { c } = this;
    c.font = `${weight} ${size}px ${this.style.font}`;
    c.textAlign = align;
    if (plate) {
      const wide = c.measureText(words).width + 6;
      this.box(plate, align === "center" ? x - wide / 2 : x - 3, y - size, wide, size + 3);
    }
    c.fillStyle = ink;
    c.fillText(words, x, y);
  }

  wordsWidth(words, size, weight = 400) {
    this.c.font = `${weight} ${size}px ${this.style.font}`;
    return this.c.measureText(words).width;
  }

  // The words, cut at their end if they are wider than the room.
  cut(words, room, { size = 11, weight = 400 } = {}) {
    let kept = words.length;
    const shown = () => (kept < words.length ? `${words.slice(0, kept)}…` : words);
    while (kept > 1 && this.wordsWidth(shown(), size, weight) > room) kept--;
    return shown();
  }

  // Draw only inside this box.
  within(x, y, width, height, draw) {
    this.c.save();
    this.c.beginPath();
    this.c.rect(x, y, width, height);
    this.c.clip();
    draw();
    this.c.restore();
  }
}
