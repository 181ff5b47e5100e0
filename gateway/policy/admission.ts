import type { TokenVerifier } from '../../shared/auth/tokens.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { GatewayConfig } from '../config.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { type RateClass, rateClassOf } from '../routes.ts';
import { createAuthentication } from './authenticate.ts';
import { createRateLimiter } from './rate-limit.ts';

/** Who it is, then how often. */
export interface Admission {
  /** Sets `exchange.caller`. Throws `unauthenticated`, `token-expired` or `rate-limited`. */
  authenticate(exchange: Exchange): void | Promise<void>;
  /** Counts the request against the limit of its route. Throws `rate-limited`. */
  limit(exchange: Exchange): void | Promise<void>;
  /** Counts it against another limit. */
  take(exchange: Exchange, rateClass: RateClass): void | Promise<void>;
  /** Multiplies every limit from now on. */
  scaleLimits(scale: number): void;
  /** Limits are counted in this process alone: the shared store is away. */
  degraded(): boolean;
  close(): void;
}

export function createAdmission(options: {
  config: GatewayConfig;
  ephemeral: EphemeralStore;
  tokens: TokenVerifier;
  metrics: GatewayMetrics;
  log: Log;
}): Admission {
  const { config, tokens, metrics, log } = options;
  const limiterFor = (scale: number) =>
    createRateLimiter({ store: options.ephemeral, scale, storeMs: config.timings.storeMs, metrics, log });
  let limiter = limiterFor(config.limitScale);
  let authenticate = createAuthentication(tokens, limiter);
  return {
    authenticate: (exchange) => authenticate(exchange, exchange.rule?.token ?? 'optional'),
    limit: (exchange) => limiter.take(exchange, rateClassOf(exchange.rule!, exchange.method)),
    take: (exchange, rateClass) => limiter.take(exchange, rateClass),
    scaleLimits(scale) {
      limiter.close();
      limiter = limiterFor(scale);
      authenticate = createAuthentication(tokens, limiter);
    },
    degraded: () => limiter.degraded(),
    close: () => limiter.close(),
  };
}
