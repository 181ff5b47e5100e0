import { request } from 'node:http';
import type { Health } from './replica.ts';
import type { UpstreamAddress } from './targets.ts';

export interface CheckResult {
  health: Health;
  /** Nobody listens there. */
  refused: boolean;
}

/** Of a reply. */
const MAX_BODY_BYTES = 16_384;

/**
 * Asks a replica how it is: `GET /readyz` on a connection of its own. Never rejects.
 *
 * It is readiness, not liveness, that is asked for, because a replica that lost its database should get nothing while
 * another has one. But only a missing answer takes a replica out: with 503 it is merely used last, so that a failure
 * that all replicas share leaves all of them in use.
 */
export function checkHealth(address: UpstreamAddress, timeoutMs: number): Promise<CheckResult> {
  return new Promise((resolve) => {
    const call = request({
      host: address.hostname,
      port: address.port,
      path: '/readyz',
      headers: { host: address.host, 'user-agent': 'lyceum-gateway' },
      agent: false,
    });
    const finish = (health: Health, refused = false): void => {
      clearTimeout(timer);
      resolve({ health, refused });
      call.destroy();
    };
    const timer = setTimeout(() => finish('no answer'), timeoutMs);
    call.on('error', (error: NodeJS.ErrnoException) => finish('no answer', error.code === 'ECONNREFUSED'));
    call.on('response', (reply) => {
      let body = '';
      reply.setEncoding('utf8');
      reply.on('data', (piece: string) => {
        body += piece;
        if (body.length > MAX_BODY_BYTES) finish(healthOf(reply.statusCode, ''));
      });
      reply.on('end', () => finish(healthOf(reply.statusCode, body)));
      reply.on('error', () => finish('no answer'));
      reply.on('close', () => finish('no answer'));
    });
    call.end();
  });
}

function healthOf(status: number | undefined, body: string): Health {
  if (status === 200) return 'ready';
  return saysDraining(body) ? 'draining' : 'not ready';
}

function saysDraining(body: string): boolean {
  try {
    return (JSON.parse(body) as { draining?: unknown } | null)?.draining === true;
  } catch {
    return false;
  }
}
