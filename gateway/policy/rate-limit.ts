import { Problem } from '../../shared/errors.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore, TokenDecision } from '../../shared/ports/ephemeral-store.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';
import type { RateClass } from '../routes.ts';
import { limitKeyOf } from './client-address.ts';

/** After a failure of the shared store, it is left alone for so long. */
const STORE_PAUSE_MS = 1_000;

export interface RateLimiter {
  /** Takes one token and sets the RateLimit headers. Throws `rate-limited` when the bucket is empty. */
  take(exchange: Exchange, rateClass: RateClass): Promise<void>;
}

/**
 * Token buckets in the shared store, so that all gateways count together. While the store fails or is slow, each
 * process counts for itself: limits get looser by the number of gateways, and no request fails for it.
 */
export function createRateLimiter(options: {
  store: EphemeralStore;
  local: EphemeralStore;
  scale: number;
  /** Milliseconds the store may take. */
  storeMs: number;
  metrics: GatewayMetrics;
  log: Log;
}): RateLimiter {
  let pausedUntil = 0;

  async function decide(
    key: string,
    bucket: { capacity: number; perSecond: number },
  ): Promise<[TokenDecision, string]> {
    if (Date.now() >= pausedUntil) {
      try {
        return [await within(options.store.takeTokens(key, bucket), options.storeMs), 'shared'];
      } catch (error) {
        pausedUntil = Date.now() + STORE_PAUSE_MS;
        options.log.warn({ reason: String(error) }, 'limits are counted per process: the shared store fails');
      }
    }
    return [await options.local.takeTokens(key, bucket), 'local'];
  }

  return {
    async take(exchange, rateClass) {
      const { caller } = exchange;
      const own = caller && rateClass.perUser ? rateClass.perUser : rateClass.perAddress;
      const who =
        caller && rateClass.perUser ? `user:${caller.userId}` : `address:${limitKeyOf(exchange.address)}`;
      const bucket = {
        capacity: Math.max(1, Math.floor(own.capacity * options.scale)),
        perSecond: own.perSecond * options.scale,
      };
      const [decision, store] = await decide(`limit:${rateClass.name}:${who}`, bucket);
      const seconds = Math.max(decision.allowed ? 0 : 1, Math.ceil(decision.resetMs / 1_000));
      exchange.headers.set('ratelimit-limit', String(bucket.capacity));
      exchange.headers.set('ratelimit-remaining', String(decision.remaining));
      exchange.headers.set('ratelimit-reset', String(seconds));
      options.metrics.rateLimits.inc({
        class: rateClass.name,
        outcome: decision.allowed ? 'allowed' : 'refused',
        store,
      });
      if (!decision.allowed) {
        throw new Problem('rate-limited', `Too many requests. Try again in ${seconds} s.`, {
          retryAfter: seconds,
        });
      }
    },
  };
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
