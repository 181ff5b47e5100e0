import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import { METHODS } from '../routes.ts';

const KNOWN_METHODS = new Set<string>([...METHODS, 'OPTIONS']);

export const isKnownMethod = (method: string): boolean => method === 'GET' || KNOWN_METHODS.has(method);

/** Throws `method-not-allowed` for what no route can have. */
export function checkMethod(exchange: Exchange): void {
  if (!isKnownMethod(exchange.method))
    throw new Problem('method-not-allowed', undefined, { headers: { allow: [...KNOWN_METHODS].join(', ') } });
}
