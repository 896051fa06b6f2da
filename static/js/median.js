// The median of the last few values: one slow answer does not jump out.
export class RunningMedian {
  #values = [];
  #size;

  constructor(size) {
    this.#size = size;
  }

  add(value) {
    this.#values = [...this.#values, value].slice(-this.#size);
    return this.value;
  }

  get value() {
    const sorted = [...this.#values].sort((a, b) => a - b);
    return sorted.length === 0 ? null : sorted[Math.floor(sorted.length / 2)];
  }
}
