import type { TokenVerifier } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import type { Log } from '../../shared/observability/log.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { GatewayConfig } from '../config.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { RATE_CLASSES, type RateClass, rateClassOf } from '../routes.ts';
import { createRateLimiter } from './rate-limit.ts';

export interface Admission {
  /** Sets `exchange.caller`. Throws `unauthenticated` or `token-expired`. */
  authenticate(exchange: Exchange): void | Promise<void>;
  limit(exchange: Exchange): void | Promise<void>;
  take(exchange: Exchange, rateClass: RateClass): void | Promise<void>;
}

export function createAdmission(options: {
  config: GatewayConfig;
  ephemeral: EphemeralStore;
  localStore: EphemeralStore;
  tokens: TokenVerifier;
  metrics: GatewayMetrics;
  log: Log;
}): Admission {
  const { config, tokens } = options;
  const limiter = createRateLimiter({
    store: options.ephemeral,
    local: options.localStore,
    scale: config.limitScale,
    storeMs: config.timings.storeMs,
    metrics: options.metrics,
    log: options.log,
  });
  const take = (exchange: Exchange, rateClass: RateClass) =>
    limiter.take(
      {
        caller: exchange.caller,
        address: exchange.address,
        headers: { set: (name: string, value: string) => exchange.setHeader(name, value) },
      } as never,
      rateClass,
    );
  return {
    async authenticate(exchange) {
      const needed = exchange.rule?.token ?? 'optional';
      if (needed === 'none') return;
      try {
        exchange.caller = await tokens.fromHeader(exchange.header('authorization'));
        if (needed === 'required' && !exchange.caller) throw new Problem('unauthenticated');
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 401) throw error;
        await take(exchange, RATE_CLASSES.refused);
        throw new Problem(error.code, error.detail, {
          headers: {
            'www-authenticate': `Bearer realm="lyceum"${exchange.header('authorization') ? ', error="invalid_token"' : ''}`,
          },
        });
      }
    },
    limit: (exchange) => take(exchange, rateClassOf(exchange.rule!, exchange.method)),
    take,
  };
}
