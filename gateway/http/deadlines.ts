/** What waits for something that may never come: asked every so often whether it has waited for too long. */
export interface Waiting {
  /** `now` as `performance.now()` gives it. */
  tick(now: number): void;
}

/**
 * One timer for all connections instead of one or more for each request: a look at a connection costs a few
 * nanoseconds, setting and clearing a timer hundreds. A deadline is met at most one period late.
 */
export class Deadlines {
  private readonly all = new Set<Waiting>();
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(periodMs: number) {
    this.timer = setInterval(() => {
      const now = performance.now();
      for (const one of this.all) one.tick(now);
    }, periodMs);
    this.timer.unref?.();
  }

  watch(one: Waiting): void {
    this.all.add(one);
  }

  forget(one: Waiting): void {
    this.all.delete(one);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
