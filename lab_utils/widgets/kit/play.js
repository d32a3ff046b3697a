// A button, a slider and a clock, to play and scrub what goes from 0 to `last`.

class PlayBar {
  // unit_s: how long 1 takes to play. fine: positions of the slider in it. label: what the slider moves.
  // moved(at) draws that moment and gives back what the clock shows; describe() says in words what is to be seen.
  constructor(root, { label, last, fine, unit_s, moved, describe }) {
    Object.assign(this, { root, last, unit_s, fine, moved, describe, at: 0, playing: 0 });
    this.row = add(root, "div", "bar");
    this.button = addButton(this.row, "", () => this.toggle());
    this.button.classList.add("lab-card-play");
    this.slider = add(this.row, "input", "time");
    this.clock = add(this.row, "span", "clock");
    Object.assign(this.slider, { type: "range", min: 0, max: last * fine });
    this.slider.setAttribute("aria-label", label);
    this.slider.addEventListener("input", () => this.go(this.slider.value / fine));
    this.keys = { " ": () => this.toggle(), Home: () => this.go(0), End: () => this.go(last) };
    this.show(0);
  }

  show(playing) {
    this.playing = playing;
    this.button.textContent = playing ? WORDS.pause : WORDS.play;
    this.root.dataset.playing = playing > 0;
  }

  move(to) {
    this.at = Math.max(0, Math.min(this.last, to));
    this.clock.textContent = this.moved(this.at);
    this.slider.value = Math.round(this.at * this.fine);
    this.slider.setAttribute("aria-valuetext", this.clock.textContent);
    this.root.dataset.at = this.at;
    this.describe();
  }

  play() {
    const from = this.at < this.last ? this.at : 0, began = performance.now();
    const frame = (now) => {
      this.playing = requestAnimationFrame(frame);
      this.move(from + Math.max(0, now - began) / 1000 / this.unit_s);
      if (this.at >= this.last) this.pause();
    };
    this.show(requestAnimationFrame(frame));
  }

  pause() {
    cancelAnimationFrame(this.playing);
    this.show(0);
    this.describe();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  go(to) {
    this.pause();
    this.move(to);
  }
}
