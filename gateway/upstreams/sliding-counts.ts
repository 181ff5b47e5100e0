const SECONDS = 10;
/** The window in seconds. */
export const WINDOW_SECONDS = SECONDS;

/** Counts two kinds of events over the last ten seconds, by whole seconds. Times in milliseconds. */
export class SlidingCounts {
  private readonly buckets = new Uint32Array(2 * SECONDS);
  private readonly totals = [0, 0];
  private newest = Number.NEGATIVE_INFINITY;

  add(kind: 0 | 1, now: number): void {
    this.moveTo(now);
    const at = 2 * (this.newest % SECONDS) + kind;
    this.buckets[at] = this.buckets[at]! + 1;
    this.totals[kind] = this.totals[kind]! + 1;
  }

  total(kind: 0 | 1, now: number): number {
    this.moveTo(now);
    return this.totals[kind]!;
  }

  clear(): void {
    this.buckets.fill(0);
    this.totals.fill(0);
  }

  private moveTo(now: number): void {
    const second = Math.floor(now / 1_000);
    if (second === this.newest) return;
    if (second - this.newest >= SECONDS) this.clear();
    else for (let old = this.newest + 1; old <= second; old++) this.empty(old % SECONDS);
    this.newest = second;
  }

  private empty(slot: number): void {
    for (const kind of [0, 1]) {
      const at = 2 * slot + kind;
      this.totals[kind] = this.totals[kind]! - this.buckets[at]!;
      this.buckets[at] = 0;
    }
  }
}
