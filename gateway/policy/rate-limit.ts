import type { Counter, Gauge } from 'prom-client';
import type { Caller } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import { SLACK, type TakeRequest } from '../../shared/ports/token-bucket.ts';
import { type Recent, RecentCache } from '../../shared/recent-cache.ts';
import { within } from '../../shared/wait-for.ts';
import type { Bucket, RateClass } from '../routes.ts';
import { limitKeyOf } from './client-address.ts';

/** Users and addresses whose buckets are mirrored here, those seen last. */
const MIRRORED_CLIENTS = 20_000;
/** Between two settlements with the store, in milliseconds. */
const SETTLE_MS = 20;
/**
 * The part of what is known to be in a bucket that is given out here before it is settled. Another gateway may do the
 * same at that moment, so this is by how much they can be wrong together.
 */
const UNSETTLED_SHARE = 1 / 8;
/** While the store is away, it is tried again so often. */
const RETRY_MS = 250;

export interface LimitDecision {
  allowed: boolean;
  /** Requests at once. */
  limit: number;
  remaining: number;
  /** Until the bucket is full again (allowed) or the next request may come (refused). */
  resetSeconds: number;
}

/** Of an exchange, what a limit needs to know, and where it leaves its headers. */
export interface LimitSubject {
  readonly caller: Caller | undefined;
  readonly address: string;
  setHeader(name: string, value: string): void;
}

export interface RateLimiter {
  /** Takes one token from the bucket of the caller, or of the address. A promise only if the store must be asked. */
  decide(
    rateClass: RateClass,
    caller: Caller | undefined,
    address: string,
  ): LimitDecision | Promise<LimitDecision>;
  /** The same for an exchange: sets the RateLimit headers, throws `rate-limited` when the bucket is empty. */
  take(subject: LimitSubject, rateClass: RateClass): void | Promise<void>;
  /** Seconds until an address that is known to have used its bucket up may go on; 0 for all others. Takes nothing. */
  blockedSeconds(rateClass: RateClass, address: string): number;
  /** The store is away or slow: each process counts for itself. */
  degraded(): boolean;
  /** Settles once more what was let through, then no more. */
  close(): void;
}

export interface RateLimiterOptions {
  store: Pick<EphemeralStore, 'takeTokensMany' | 'ready'>;
  /** Multiplies capacity and rate of every bucket. */
  scale: number;
  /** Milliseconds the store may take. */
  storeMs: number;
  metrics: { rateLimits: Counter<'class' | 'outcome' | 'store'>; limitsDegraded: Gauge };
  log: Pick<Log, 'info' | 'warn'>;
}

/** A kind of bucket: of users or of addresses in one class. */
interface Limit {
  readonly index: number;
  readonly className: string;
  readonly keyPrefix: string;
  readonly capacity: number;
  readonly perSecond: number;
  /** Milliseconds in which one token comes back, and all of them. */
  readonly interval: number;
  readonly burst: number;
  readonly strict: boolean;
  /** Decisions since the metrics were last brought up to date. */
  readonly counts: { allowed: number; refused: number };
}

/** What this process knows about one bucket in the store. */
interface MirroredBucket {
  readonly limit: Limit;
  readonly key: string;
  /** `performance.now()` at which it is full again, with what was taken here since the store was asked. */
  fullAt: number;
  /** Tokens let through here that the store has not been told of. */
  pending: number;
  /** Those it is being told of. */
  settling: number;
}

interface MirroredClient extends Recent {
  /** By the index of the limit. */
  readonly buckets: (MirroredBucket | undefined)[];
}

interface Waiting {
  readonly bucket: MirroredBucket;
  resolve(decision: LimitDecision): void;
}

/**
 * Token buckets in the shared store, so that all gateways count together, with a mirror of them in this process: a
 * decision is made on the mirror, at once, and what was taken is settled with the store in one batch every 20 ms, whose
 * answer brings the mirror up to date with what other gateways let through. What the mirror knows to be empty is
 * refused without asking.
 *
 * A gateway gives out no more than a part of what it knows to be there before it settles; what several of them let
 * through too much is a debt in the store, to be worked off. Past that part, and always in classes marked `strict`, the
 * store decides, and the request waits for it.
 *
 * While the store fails or takes longer than `storeMs`, nobody waits for it: the mirror decides alone. Limits get looser
 * by the number of gateways, and no request fails for it.
 */
export function createRateLimiter(options: RateLimiterOptions): RateLimiter {
  const { store, scale, storeMs, metrics, log } = options;
  const clients = new RecentCache<MirroredClient>(MIRRORED_CLIENTS);
  const limits: Limit[] = [];
  const ofUsers = new Map<RateClass, Limit>();
  const ofAddresses = new Map<RateClass, Limit>();
  let unsettled: MirroredBucket[] = [];
  let waiting: Waiting[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let degraded = false;
  let closed = false;
  metrics.limitsDegraded.set(0);

  function limitOf(rateClass: RateClass, isUser: boolean): Limit {
    const known = (isUser ? ofUsers : ofAddresses).get(rateClass);
    return known ?? addLimit(rateClass, isUser);
  }

  function addLimit(rateClass: RateClass, isUser: boolean): Limit {
    const bucket: Bucket = (isUser ? rateClass.perUser : undefined) ?? rateClass.perAddress;
    const capacity = Math.max(1, Math.floor(bucket.capacity * scale));
    const perSecond = bucket.perSecond * scale;
    const interval = 1_000 / perSecond;
    const limit: Limit = {
      index: limits.length,
      className: rateClass.name,
      keyPrefix: `limit:${rateClass.name}:${isUser ? 'user' : 'address'}:`,
      capacity,
      perSecond,
      interval,
      burst: capacity * interval,
      strict: rateClass.strict ?? false,
      counts: { allowed: 0, refused: 0 },
    };
    limits.push(limit);
    (isUser ? ofUsers : ofAddresses).set(rateClass, limit);
    return limit;
  }

  function bucketOf(limit: Limit, who: string): MirroredBucket {
    let client = clients.get(who);
    if (client === undefined) {
      client = { used: false, buckets: [] };
      clients.set(who, client);
    }
    const known = client.buckets[limit.index];
    if (known !== undefined) return known;
    const bucket = { limit, key: limit.keyPrefix + who, fullAt: 0, pending: 0, settling: 0 };
    client.buckets[limit.index] = bucket;
    return bucket;
  }

  function decide(
    rateClass: RateClass,
    caller: Caller | undefined,
    address: string,
  ): LimitDecision | Promise<LimitDecision> {
    const isUser = caller !== undefined && rateClass.perUser !== undefined;
    const limit = limitOf(rateClass, isUser);
    const bucket = bucketOf(limit, isUser ? caller.userId : limitKeyOf(address));
    const now = performance.now();
    const tokens = tokensIn(bucket, now);
    if (tokens + SLACK < 1) return decisionOn(limit, false, tokens);
    const given = bucket.pending + bucket.settling;
    const hasShareLeft = given + 1 <= (tokens + given) * UNSETTLED_SHARE;
    if ((limit.strict || !hasShareLeft) && !degraded && !closed) return askStore(bucket);
    return takeHere(bucket, now, tokens);
  }

  /** With what is owed, below zero. */
  function tokensIn({ limit, fullAt }: MirroredBucket, now: number): number {
    return fullAt <= now ? limit.capacity : limit.capacity - (fullAt - now) / limit.interval;
  }

  function takeHere(bucket: MirroredBucket, now: number, tokens: number): LimitDecision {
    bucket.fullAt = Math.max(bucket.fullAt, now) + bucket.limit.interval;
    if (bucket.pending++ === 0) unsettled.push(bucket);
    return decisionOn(bucket.limit, true, tokens - 1);
  }

  function decisionOn(limit: Limit, allowed: boolean, tokens: number): LimitDecision {
    if (allowed) limit.counts.allowed++;
    else limit.counts.refused++;
    soon();
    const missing = allowed ? limit.capacity - tokens : 1 - tokens;
    const seconds = Math.ceil((missing * limit.interval) / 1_000 - SLACK);
    return {
      allowed,
      limit: limit.capacity,
      remaining: tokens > 0 ? Math.floor(tokens + SLACK) : 0,
      resetSeconds: allowed ? Math.max(0, seconds) : Math.max(1, seconds),
    };
  }

  function askStore(bucket: MirroredBucket): Promise<LimitDecision> {
    return new Promise((resolve) => {
      waiting.push({ bucket, resolve });
      if (asking) return;
      asking = true;
      // Everybody of this turn of the event loop asks together.
      queueMicrotask(() => {
        asking = false;
        void settle();
      });
    });
  }

  function soon(): void {
    if (timer !== undefined || closed) return;
    timer = setTimeout(onTimer, degraded ? RETRY_MS : SETTLE_MS);
    timer.unref?.();
  }

  function onTimer(): void {
    timer = undefined;
    countDecisions();
    if (unsettled.length > 0 || degraded) void settle();
    if (degraded) soon();
  }

  /** Tells the store what was let through, then asks it for those who wait, all in one call. */
  async function settle(): Promise<void> {
    const settled = unsettled;
    const asked = waiting;
    unsettled = [];
    waiting = [];
    const requests: TakeRequest[] = [];
    for (const bucket of settled) {
      requests.push(requestFor(bucket, bucket.pending, true));
      bucket.settling += bucket.pending;
      bucket.pending = 0;
    }
    for (const { bucket } of asked) requests.push(requestFor(bucket, 1, false));
    try {
      const answers = await within(
        requests.length > 0 ? store.takeTokensMany(requests) : store.ready().then(() => []),
        storeMs,
      );
      onStoreAnswers();
      const now = performance.now();
      for (const [index, bucket] of settled.entries()) {
        bucket.settling -= requests[index]!.cost!;
        mirror(bucket, answers[index]!.tokens, now);
      }
      for (const [index, { bucket, resolve }] of asked.entries()) {
        const { allowed, tokens } = answers[settled.length + index]!;
        mirror(bucket, tokens, now);
        resolve(decisionOn(bucket.limit, allowed, tokens));
      }
    } catch (error) {
      onStoreFails(error);
      // Perhaps the store has counted it, perhaps not; the mirror has.
      for (const [index, bucket] of settled.entries()) bucket.settling -= requests[index]!.cost!;
      const now = performance.now();
      for (const { bucket, resolve } of asked) {
        const tokens = tokensIn(bucket, now);
        resolve(tokens + SLACK < 1 ? decisionOn(bucket.limit, false, tokens) : takeHere(bucket, now, tokens));
      }
    }
  }

  const requestFor = ({ key, limit }: MirroredBucket, cost: number, force: boolean): TakeRequest => ({
    key,
    capacity: limit.capacity,
    perSecond: limit.perSecond,
    cost,
    force,
  });

  /** What the store had left, less what was let through here meanwhile. */
  function mirror(bucket: MirroredBucket, tokens: number, now: number): void {
    const { capacity, interval } = bucket.limit;
    bucket.fullAt = now + (capacity - tokens + bucket.pending + bucket.settling) * interval;
  }

  function onStoreFails(error: unknown): void {
    if (degraded || closed) return;
    countDecisions();
    degraded = true;
    metrics.limitsDegraded.set(1);
    log.warn({ reason: String(error) }, 'limits are counted per process: the shared store fails');
    clearTimeout(timer);
    timer = undefined;
    soon();
  }

  function onStoreAnswers(): void {
    if (!degraded) return;
    countDecisions();
    degraded = false;
    metrics.limitsDegraded.set(0);
    log.info({}, 'limits are counted together again');
  }

  /** prom-client takes a microsecond for a count with labels, which is more than a decision takes. */
  function countDecisions(): void {
    const by = degraded ? 'local' : 'shared';
    for (const { className, counts } of limits) {
      for (const outcome of ['allowed', 'refused'] as const) {
        if (counts[outcome] === 0) continue;
        metrics.rateLimits.inc({ class: className, outcome, store: by }, counts[outcome]);
        counts[outcome] = 0;
      }
    }
  }

  return {
    decide,
    take(subject, rateClass) {
      const decision = decide(rateClass, subject.caller, subject.address);
      if (decision instanceof Promise) return decision.then((later) => tell(subject, later));
      tell(subject, decision);
    },
    blockedSeconds(rateClass, address) {
      const limit = limitOf(rateClass, false);
      const bucket = clients.get(limitKeyOf(address))?.buckets[limit.index];
      if (bucket === undefined) return 0;
      const tokens = tokensIn(bucket, performance.now());
      return tokens + SLACK >= 1 ? 0 : Math.max(1, Math.ceil(((1 - tokens) * limit.interval) / 1_000));
    },
    degraded: () => degraded,
    close() {
      closed = true;
      clearTimeout(timer);
      countDecisions();
      if (unsettled.length > 0 && !degraded) void settle();
    },
  };
}

/** Leaves the headers of a decision (draft-ietf-httpapi-ratelimit-headers-06), and throws if it is a refusal. */
function tell(subject: LimitSubject, { allowed, limit, remaining, resetSeconds }: LimitDecision): void {
  subject.setHeader('ratelimit-limit', String(limit));
  subject.setHeader('ratelimit-remaining', String(remaining));
  subject.setHeader('ratelimit-reset', String(resetSeconds));
  if (!allowed) throw tooManyRequests(resetSeconds);
}

/** `seconds` until the next request may come. */
export const tooManyRequests = (seconds: number): Problem =>
  new Problem('rate-limited', `Too many requests. Try again in ${seconds} s.`, { retryAfter: seconds });
