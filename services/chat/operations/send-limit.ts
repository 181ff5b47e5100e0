import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import {
  type Bucket,
  decisionOf,
  type TakeAnswer,
  type TakeRequest,
  type TokenDecision,
  takeAt,
} from '../../../shared/ports/token-bucket.ts';
import { RecentCache } from '../../../shared/recent-cache.ts';

/**
 * What the store said of a bucket counts for so long, with what was taken here since. Milliseconds. Whatever it has become
 * meanwhile, the first token taken here is settled within SETTLE_MS, and that answer is learnt.
 */
const FRESH_MS = 30_000;
/** While the store is away, it is asked again so often. */
const RETRY_MS = 250;
/** Between two settlements with the store. */
const SETTLE_MS = 100;
const MIRRORED = 20_000;

interface Mirror {
  used: boolean;
  key: string;
  /** `performance.now()` at which the bucket is full again, as far as is known here. */
  fullAt: number;
  freshUntil: number;
  /** Tokens taken here that the store has not been told of. */
  pending: number;
}

/**
 * How much one person may say in one room, on all processes together. The store keeps the buckets. Who is in full flow
 * is counted here, and settled with the store in one call for all every 20 ms; a message then waits for no store. Two
 * processes can be wrong together by what one person sends in that time. While the store is away each counts for
 * itself: talking matters more.
 */
export class SendLimit {
  readonly #mirrors = new RecentCache<Mirror>(MIRRORED);
  #unsettled: Mirror[] = [];

  constructor(
    private readonly store: Pick<EphemeralStore, 'takeTokensMany'>,
    private readonly bucket: Bucket,
  ) {}

  /** Takes one token. A promise only if the store must be asked. */
  take(key: string): TokenDecision | Promise<TokenDecision> {
    const mirror = this.#mirrors.get(key);
    if (mirror === undefined || performance.now() > mirror.freshUntil) return this.#ask(key);
    return this.#takeHere(mirror);
  }

  #takeHere(mirror: Mirror): TokenDecision {
    const answer = takeAt(performance.now(), mirror.fullAt, this.bucket);
    mirror.fullAt = answer.fullAt;
    if (answer.allowed && mirror.pending++ === 0) {
      if (this.#unsettled.length === 0) setTimeout(() => void this.#settle(), SETTLE_MS);
      this.#unsettled.push(mirror);
    }
    return decisionOf(this.bucket, 1, answer);
  }

  async #ask(key: string): Promise<TokenDecision> {
    let answer: TakeAnswer;
    try {
      [answer] = (await this.store.takeTokensMany([{ ...this.bucket, key }])) as [TakeAnswer];
    } catch {
      const mirror = this.#mirrorOf(key);
      mirror.freshUntil = performance.now() + RETRY_MS;
      return this.#takeHere(mirror);
    }
    this.#learn(this.#mirrorOf(key), answer);
    return decisionOf(this.bucket, 1, answer);
  }

  async #settle(): Promise<void> {
    const settled = this.#unsettled;
    this.#unsettled = [];
    const requests = settled.map(({ key, pending }): TakeRequest => {
      return { ...this.bucket, key, cost: pending, force: true };
    });
    for (const mirror of settled) mirror.pending = 0;
    const answers = await this.store.takeTokensMany(requests).catch(() => []);
    for (const [index, answer] of answers.entries()) this.#learn(settled[index]!, answer);
  }

  /** What the store has left, less what was taken here meanwhile. */
  #learn(mirror: Mirror, { tokens }: TakeAnswer): void {
    const now = performance.now();
    const missing = this.bucket.capacity - tokens + mirror.pending;
    mirror.fullAt = now + (missing / this.bucket.perSecond) * 1_000;
    mirror.freshUntil = now + FRESH_MS;
  }

  #mirrorOf(key: string): Mirror {
    const known = this.#mirrors.get(key);
    if (known) return known;
    const mirror: Mirror = { used: false, key, fullAt: 0, freshUntil: 0, pending: 0 };
    this.#mirrors.set(key, mirror);
    return mirror;
  }
}
