import { SlidingCounts, WINDOW_SECONDS } from './sliding-counts.ts';

const REQUEST = 0;
const RETRY = 1;

/**
 * How many requests may be tried again. Without a bound, a service that fails under its load would get twice the load
 * (Google, "Site Reliability Engineering", ch. 21).
 */
export class RetryBudget {
  allowed = 0;
  denied = 0;
  private readonly counts = new SlidingCounts();

  constructor(
    private readonly share: number,
    private readonly perSecond: number,
  ) {}

  countRequest(now: number): void {
    this.counts.add(REQUEST, now);
  }

  /** True takes one retry from the budget. */
  take(now: number): boolean {
    const budget = this.share * this.counts.total(REQUEST, now) + this.perSecond * WINDOW_SECONDS;
    if (this.counts.total(RETRY, now) + 1 > budget) {
      this.denied++;
      return false;
    }
    this.counts.add(RETRY, now);
    this.allowed++;
    return true;
  }
}
