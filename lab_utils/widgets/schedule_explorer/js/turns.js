// What is asked of Python one after the other: each is made from its answer to the one before, so keys may be fast.

class Turns {
  constructor(model, choose) {
    Object.assign(this, { model, choose, waiting: [] });
  }

  get busy() {
    return this.model.get("_asked") !== this.model.get("_answered");
  }

  // make() gives the changes to ask for when its turn comes, or null.
  take(make) {
    this.waiting.push(make);
    this.go();
  }

  go() {
    while (this.waiting.length && !this.busy) {
      const changes = this.waiting.shift()();
      if (changes) this.choose({ ...changes, _asked: this.model.get("_asked") + 1 });
    }
  }
}
