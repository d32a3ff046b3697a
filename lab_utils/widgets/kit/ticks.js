// The smallest step of 1, 2 or 5 × 10^k of which at most `most` fit into the length, and its decimals (render/kit.py).
function roundStep(length, most) {
  if (!(length > 0)) return { step: Infinity, decimals: 0 };
  for (let power = Math.floor(Math.log10(length / most)); ; power++)
    for (const factor of [1, 2, 5]) {
      const step = factor * 10 ** power;
      if (length / step <= most) return { step, decimals: Math.max(0, -power) };
    }
}
