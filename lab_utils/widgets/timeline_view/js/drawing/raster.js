// The plot as pixels: a hundred thousand boxes are written faster than a canvas draws as many rectangles.

// A colour "#rrggbb" as a pixel of an ImageData, on little-endian machines, as all that run browsers are.
function pixel(color) {
  const value = parseInt(color.slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

class Raster {
  // looks: those of the paints, by number; a paint with a pattern is kept as the pixels of one tile.
  constructor(surface) {
    this.surface = surface;
    this.paints = surface.style.looks.map((look) => {
      if (look.pattern === "plain") return pixel(look.fill);
      const tile = tileOf(look, surface.ratio), { width: size } = tile;
      return { size, pixels: new Uint32Array(tile.getContext("2d").getImageData(0, 0, size, size).data.buffer) };
    });
  }

  // Begin a plot at left, CSS pixels from the canvas's edge, and as high as the canvas; all of it one color.
  begin(left, right, color) {
    const { ratio, canvas, c } = this.surface, width = Math.round((right - left) * ratio);
    if (this.image?.width !== width || this.image.height !== canvas.height) {
      this.image = c.createImageData(width, canvas.height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    Object.assign(this, { left, ratio, width, height: canvas.height });
    this.pixels.fill(pixel(color));
  }

  put() {
    this.surface.c.putImageData(this.image, Math.round(this.left * this.ratio), 0);
  }

  // A box in CSS pixels of the canvas, cut at the plot's edges and at least one pixel wide and high; `paint` is a
  // pixel, or a tile. Edges are rounded, so boxes that meet leave no seam; `apart` leaves one pixel free at the right.
  box(paint, x, y, width, height, apart = false) {
    const { ratio } = this, left = Math.round((x - this.left) * ratio), top = Math.round(y * ratio);
    const right = Math.max(Math.round((x + width - this.left) * ratio) - (apart ? 1 : 0), left + 1);
    const bottom = Math.max(Math.round((y + height) * ratio), top + 1);
    this.fill(paint, Math.max(left, 0), Math.min(right, this.width), Math.max(top, 0), Math.min(bottom, this.height));
  }

  fill(paint, left, right, top, bottom) {
    const { pixels, width } = this;
    if (typeof paint === "object") return this.fillTile(paint, left, right, top, bottom);
    for (let row = top * width, end = bottom * width; row < end; row += width) {
      if (right - left > 12) pixels.fill(paint, row + left, row + right);
      else for (let at = row + left; at < row + right; at++) pixels[at] = paint;
    }
  }

  fillTile({ size, pixels: tile }, left, right, top, bottom) {
    const { pixels, width } = this;
    for (let y = top; y < bottom; y++) {
      const row = y * width, line = (y % size) * size;
      for (let x = left, at = x % size; x < right; x++) {
        pixels[row + x] = tile[line + at];
        if (++at === size) at = 0;
      }
    }
  }
}
