/** Milliseconds, counted in steps of 1 % from a microsecond to an hour: exact enough, and no list that grows. */
export class Histogram {
  readonly #counts = new Uint32Array(2_300);
  #total = 0;
  #max = 0;

  add(ms: number): void {
    const step = Math.max(0, Math.round(Math.log(Math.max(ms, 0.001) * 1000) / Math.log(1.01)));
    this.#counts[Math.min(step, this.#counts.length - 1)]!++;
    this.#total++;
    if (ms > this.#max) this.#max = ms;
  }

  /** The value that this share of all values does not exceed; 0 if there are none. */
  quantile(share: number): number {
    let left = share * this.#total;
    for (let step = 0; step < this.#counts.length; step++) {
      left -= this.#counts[step]!;
      if (left <= 0) return 1.01 ** step / 1000;
    }
    return this.#max;
  }

  summary(): { p50: number; p99: number; max: number } {
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), max: this.#max };
  }
}
