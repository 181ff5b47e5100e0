import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import { METHODS } from '../routes.ts';

const EXPOSED =
  'X-Request-Id, ETag, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Content-Disposition, Content-Range, Deprecation, Sunset';
const ACCEPTED =
  'Authorization, Content-Type, Content-Digest, Idempotency-Key, If-Match, If-None-Match, If-Range, Range, X-Request-Id, traceparent, tracestate';

/** Origins whose pages may call us: the configured ones and our own. */
export const allowedOrigins = (corsOrigins: string[], publicUrl: string): ReadonlySet<string> =>
  new Set([...corsOrigins, new URL(publicUrl).origin]);

/**
 * Cross-origin calls (Fetch standard, 3.2). Answers a preflight. Without a listed origin a reply carries no
 * permission, and the browser keeps it from the page.
 */
export function createCors(allowed: ReadonlySet<string>): (exchange: Exchange) => void {
  return (exchange) => {
    const origin = exchange.header('origin');
    if (origin === undefined) {
      // What a cache keeps of it must not be given to a page of another origin: the permission is not in it.
      if (exchange.header('authorization') === undefined) exchange.setHeader('vary', 'Origin');
      return;
    }
    const isPreflight =
      exchange.method === 'OPTIONS' && exchange.header('access-control-request-method') !== undefined;
    exchange.setHeader('vary', 'Origin');
    if (!allowed.has(origin)) {
      if (isPreflight) throw new Problem('forbidden', 'This origin may not call the API.');
      return;
    }
    exchange.setHeader('access-control-allow-origin', origin);
    exchange.setHeader('access-control-allow-credentials', 'true');
    if (!isPreflight) {
      exchange.setHeader('access-control-expose-headers', EXPOSED);
      return;
    }
    exchange.route = 'preflight';
    exchange.reply(204, {
      'access-control-allow-methods': METHODS.join(', '),
      'access-control-allow-headers': ACCEPTED,
      'access-control-max-age': '600',
    });
  };
}
