/**
 * The one error type of the platform and its map to HTTP (RFC 9457, application/problem+json).
 * Operations throw a Problem; the HTTP door and the socket door turn it into a reply, once.
 */

/** Stable codes that clients act on, with their HTTP status and title. */
export const PROBLEMS = {
  'validation-failed': [400, 'The request is not valid'],
  unauthenticated: [401, 'Sign in first'],
  'token-expired': [401, 'The access token has expired'],
  'invalid-credentials': [401, 'E-mail or password is wrong'],
  'refresh-reused': [401, 'The refresh token was used before; the session is over'],
  forbidden: [403, 'Not allowed'],
  'email-unverified': [403, 'The e-mail address is not verified yet'],
  'account-disabled': [403, 'The account is disabled'],
  banned: [403, 'Banned from this room'],
  muted: [403, 'Muted in this room'],
  'room-locked': [403, 'The room is locked'],
  'not-found': [404, 'Not found'],
  'method-not-allowed': [405, 'Method not allowed'],
  'request-timeout': [408, 'The request took too long to arrive'],
  conflict: [409, 'In conflict with the current state'],
  'email-taken': [409, 'The e-mail address is taken'],
  'held-for-review': [409, 'The message waits for a moderator'],
  gone: [410, 'Gone'],
  'precondition-failed': [412, 'Changed since it was read'],
  'too-large': [413, 'Too large'],
  'uri-too-long': [414, 'The address is too long'],
  'unsupported-media-type': [415, 'Unsupported media type'],
  'range-not-satisfiable': [416, 'Range not satisfiable'],
  'expectation-failed': [417, 'The expectation is not known'],
  'digest-mismatch': [400, 'The digest does not match the bytes received'],
  'upgrade-required': [426, 'Another protocol or version is needed'],
  'idempotency-key-reused': [422, 'Idempotency key used with another body'],
  'content-refused': [422, 'The text has words that are not allowed here'],
  'rate-limited': [429, 'Too many requests'],
  'slow-mode': [429, 'The room is in slow mode'],
  'headers-too-large': [431, 'Request header fields too large'],
  internal: [500, 'Internal error'],
  'not-implemented': [501, 'Not implemented'],
  'bad-gateway': [502, 'The service behind the gateway gave no valid answer'],
  'upstream-unavailable': [503, 'Temporarily unavailable'],
  'switched-off': [503, 'Switched off for now'],
  maintenance: [503, 'Under maintenance'],
  'upstream-timeout': [504, 'The service behind the gateway took too long'],
  'http-version-not-supported': [505, 'HTTP version not supported'],
} as const satisfies Record<string, readonly [status: number, title: string]>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface FieldError {
  path: string;
  message: string;
}

export interface ProblemOptions {
  errors?: FieldError[];
  /** Seconds the client should wait; sent as Retry-After. */
  retryAfter?: number;
  headers?: Record<string, string>;
  cause?: unknown;
}

/** An expected failure with a stable code. `detail` is shown to the caller: never put a secret in it. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly status: number;
  readonly title: string;
  readonly errors: FieldError[] | undefined;
  readonly retryAfter: number | undefined;
  readonly headers: Record<string, string>;

  constructor(
    readonly code: ProblemCode,
    readonly detail: string = PROBLEMS[code][1],
    options: ProblemOptions = {},
  ) {
    super(detail, { cause: options.cause });
    [this.status, this.title] = PROBLEMS[code];
    this.errors = options.errors;
    this.retryAfter = options.retryAfter;
    this.headers = options.headers ?? {};
  }
}

/** "It is not there, or you may not know that it is": one answer for both, so that ids can't be probed. */
export const notFound = (what: string): Problem => new Problem('not-found', `No such ${what}.`);

/** A dependency is away for now. `retryAfter` in seconds. */
export const unavailable = (what: string, cause?: unknown, retryAfter = 2): Problem =>
  new Problem('upstream-unavailable', `${what} is not available right now. Try again shortly.`, {
    retryAfter,
    cause,
  });

const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ConnectionRefused',
  'ConnectionClosed',
  // PostgreSQL: too many connections, shutting down, crash recovery, cannot connect now
  '53300',
  '57P01',
  '57P02',
  '57P03',
  '08000',
  '08003',
  '08006',
  '08001',
]);

/** True for the errors that a driver throws while its server is away, restarting, or refusing connections. */
export function isUnavailable(error: unknown): boolean {
  for (let current = error, depth = 0; current && depth < 5; depth++) {
    if (current instanceof Problem && current.code === 'upstream-unavailable') return true;
    const { code, name, cause } = current as { code?: unknown; name?: unknown; cause?: unknown };
    if (typeof code === 'string' && CONNECTION_CODES.has(code)) return true;
    // ioredis: a command that waited out its retries, or a stream that is not writable
    if (name === 'MaxRetriesPerRequestError' || name === 'ConnectionTimeoutError') return true;
    current = cause;
  }
  return false;
}

/** What was thrown, as a Problem: known ones as they are, lost connections as 503, all else as 500 without its text. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (isUnavailable(error)) return unavailable('A service this depends on', error);
  return new Problem('internal', 'Something went wrong on our side. The request id helps us find it.', {
    cause: error,
  });
}

/** The body of application/problem+json. */
export function problemBody(problem: Problem, requestId: string): Record<string, unknown> {
  return {
    type: `urn:lyceum:problem:${problem.code}`,
    title: problem.title,
    status: problem.status,
    code: problem.code,
    detail: problem.detail,
    requestId,
    ...(problem.errors ? { errors: problem.errors } : {}),
  };
}

/** A complete problem response, with Retry-After where it has one. */
export function problemResponse(problem: Problem, requestId: string): Response {
  return new Response(JSON.stringify(problemBody(problem, requestId)), {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-request-id': requestId,
      ...(problem.retryAfter === undefined
        ? {}
        : { 'retry-after': String(Math.max(1, Math.ceil(problem.retryAfter))) }),
      ...problem.headers,
    },
  });
}
