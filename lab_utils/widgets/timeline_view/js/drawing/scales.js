// Lengths of time below each other: on one scale, or each on its own. The scripts of other widgets take this file too.
const FAR_APART = 4; // the longest is this many times the shortest: on one scale that would be a few pixels

function areFarApart(lengths) {
  const some = lengths.filter((length) => length > 0);
  return some.length > 1 && Math.max(...some) > FAR_APART * Math.min(...some);
}

// How long each axis is. own: each as long as what it shows.
function axisLengths(lengths, own) {
  const longest = Math.max(...lengths);
  return lengths.map((length) => (own && length) || longest || 1);
}

// One panel's axis. All panels of a scene are looked at together: what part of the whole is in view is one for all.
class Axis {
  constructor(scene, length) {
    Object.assign(this, { scene, length });
  }

  // How much longer the scene's own axis, that of the longest, is.
  get stretch() {
    return this.scene.makespan / this.length;
  }

  get view() {
    const { from, to } = this.scene.view;
    return { from: from / this.stretch, to: to / this.stretch };
  }

  get scale() {
    return this.scene.scale * this.stretch;
  }

  x(time) {
    return this.scene.x(time * this.stretch);
  }

  time(x) {
    return this.scene.time(x) / this.stretch;
  }
}
