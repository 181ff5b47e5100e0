import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import { METHODS } from '../routes.ts';

const KNOWN_METHODS = new Set<string>([...METHODS, 'OPTIONS']);

/** Throws `method-not-allowed` for what no route can have. */
export function checkMethod(exchange: Exchange): void {
  if (!KNOWN_METHODS.has(exchange.method))
    throw new Problem('method-not-allowed', undefined, { headers: { allow: [...KNOWN_METHODS].join(', ') } });
}
