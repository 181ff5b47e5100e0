import type { TokenVerifier } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayRoute } from '../routes.ts';

/**
 * The first of two token checks; the service repeats it with the same header. Sets `exchange.caller`. Throws
 * `unauthenticated` or `token-expired` as RFC 6750 wants it, with a challenge.
 */
export async function authenticate(
  exchange: Exchange,
  route: GatewayRoute,
  tokens: TokenVerifier,
): Promise<void> {
  if (route.token === 'none') return;
  try {
    exchange.caller = await tokens.fromHeader(exchange.request.headers.authorization);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) throw challenge(error, 'invalid_token');
    throw error;
  }
  if (route.token === 'required' && !exchange.caller) throw challenge(new Problem('unauthenticated'));
}

const challenge = (problem: Problem, error?: string): Problem =>
  new Problem(problem.code, problem.detail, {
    headers: { 'www-authenticate': `Bearer realm="lyceum"${error ? `, error="${error}"` : ''}` },
  });
