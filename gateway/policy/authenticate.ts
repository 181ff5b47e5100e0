import type { Caller, TokenVerifier } from '../../shared/auth/tokens.ts';
import { Problem } from '../../shared/errors.ts';
import { type GatewayRoute, RATE_CLASSES } from '../routes.ts';
import { type LimitSubject, type RateLimiter, tooManyRequests } from './rate-limit.ts';

/** Of an exchange, what the token check reads and sets. */
export interface AuthenticatedSubject extends LimitSubject {
  caller: Caller | undefined;
  header(name: string): string | undefined;
}

/**
 * The first of two token checks; the service repeats it with the same header and has the last word. Sets the caller. A
 * token that was seen before is known at once; only a new one makes the request wait. Throws `unauthenticated` or
 * `token-expired` with a challenge as RFC 6750 wants it, or `rate-limited`: refused tokens count against their address,
 * and from one that has sent too many no further new token is looked at, because that costs a signature check.
 */
export function createAuthentication(
  tokens: Pick<TokenVerifier, 'knownHeader' | 'fromHeader'>,
  limiter: Pick<RateLimiter, 'take' | 'blockedSeconds'>,
): (subject: AuthenticatedSubject, needed: GatewayRoute['token']) => void | Promise<void> {
  async function refuse(subject: AuthenticatedSubject, problem: Problem, error?: string): Promise<never> {
    await limiter.take(subject, RATE_CLASSES.refused);
    throw new Problem(problem.code, problem.detail, {
      headers: { 'www-authenticate': `Bearer realm="lyceum"${error ? `, error="${error}"` : ''}` },
    });
  }

  async function verify(subject: AuthenticatedSubject, authorization: string): Promise<void> {
    const seconds = limiter.blockedSeconds(RATE_CLASSES.refused, subject.address);
    if (seconds > 0) throw tooManyRequests(seconds);
    try {
      subject.caller = await tokens.fromHeader(authorization);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) await refuse(subject, error, 'invalid_token');
      throw error;
    }
  }

  return (subject, needed) => {
    if (needed === 'none') return;
    const authorization = subject.header('authorization');
    if (authorization === undefined || authorization === '') {
      if (needed === 'required') return refuse(subject, new Problem('unauthenticated'));
      return;
    }
    const caller = tokens.knownHeader(authorization);
    if (caller === undefined) return verify(subject, authorization);
    subject.caller = caller;
  };
}
