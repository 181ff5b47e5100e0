/**
 * Token buckets as the generic cell rate algorithm counts them (GCRA, ITU-T I.371): the whole state of a bucket is the
 * time at which it will be full again. The stores keep that one number, and so does a mirror of theirs.
 */
export interface Bucket {
  /** Tokens it holds when full. */
  capacity: number;
  perSecond: number;
}

export interface TakeRequest extends Bucket {
  key: string;
  /** Tokens; 1 unless said. A negative number gives back. */
  cost?: number;
  /**
   * Takes them even if they are not there: for what has been let through already. The debt is worked off before
   * anything is allowed again, and never grows past one capacity.
   */
  force?: boolean;
}

export interface TakeAnswer {
  allowed: boolean;
  /** What is left afterwards, with fractions; below zero it is a debt. */
  tokens: number;
}

export interface TokenDecision {
  allowed: boolean;
  /** Whole tokens left. */
  remaining: number;
  /** Milliseconds until the bucket is full again (allowed) or until the cost is there (refused). */
  resetMs: number;
}

/** A thousandth of a token: what refills by fractions must not miss a whole one by a rounding error. */
export const SLACK = 0.001;

/** Takes from a bucket that is full at `fullAt`; both times in milliseconds of one clock. */
export function takeAt(
  now: number,
  fullAt: number,
  { capacity, perSecond, cost = 1, force = false }: Omit<TakeRequest, 'key'>,
): TakeAnswer & { fullAt: number } {
  const interval = 1_000 / perSecond;
  const before = capacity - Math.max(0, fullAt - now) / interval;
  const allowed = before + SLACK >= cost;
  if (!allowed && !force) return { allowed, tokens: before, fullAt };
  const floor = force ? -capacity : 0;
  const tokens = Math.min(capacity, Math.max(floor, before - cost));
  return { allowed, tokens, fullAt: now + (capacity - tokens) * interval };
}

/** What is said to whoever asked. */
export function decisionOf({ capacity, perSecond }: Bucket, cost: number, answer: TakeAnswer): TokenDecision {
  const { allowed, tokens } = answer;
  const missing = allowed ? capacity - tokens : cost - tokens;
  return {
    allowed,
    remaining: Math.max(0, Math.floor(tokens + SLACK)),
    resetMs: Math.ceil((missing / perSecond) * 1_000),
  };
}

/** Buckets of one process. */
export class LocalBuckets {
  private readonly fullAt = new Map<string, number>();

  /** Past `limit` buckets, full ones are forgotten, then the oldest. */
  constructor(private readonly limit = Number.POSITIVE_INFINITY) {}

  take(request: TakeRequest): TakeAnswer {
    const now = performance.now();
    const { allowed, tokens, fullAt } = takeAt(now, this.fullAt.get(request.key) ?? now, request);
    // Set anew, so that the order of the map is the order of use.
    this.fullAt.delete(request.key);
    if (fullAt > now) this.fullAt.set(request.key, fullAt);
    if (this.fullAt.size > this.limit) this.shrink();
    return { allowed, tokens };
  }

  /** The bucket is full again. */
  delete(key: string): void {
    this.fullAt.delete(key);
  }

  /** Forgets what is full. */
  sweep(): void {
    const now = performance.now();
    for (const [key, fullAt] of this.fullAt) if (fullAt <= now) this.fullAt.delete(key);
  }

  private shrink(): void {
    this.sweep();
    // Some more than needed, or the next call would have to sweep again.
    let surplus = this.fullAt.size - Math.floor(this.limit * 0.9);
    for (const key of this.fullAt.keys()) {
      if (surplus-- <= 0) return;
      this.fullAt.delete(key);
    }
  }
}
