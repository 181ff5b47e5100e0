import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

/** W3C Trace Context, level 1: version-traceid-parentid-flags, lower-case hex, ids not all zero. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** What a request id may look like when a client brings one; anything else is replaced. */
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{7,127}$/;

export const validTraceparent = (value: string | null | undefined): value is string =>
  typeof value === 'string' && TRACEPARENT.test(value);

export const validRequestId = (value: string | null | undefined): value is string =>
  typeof value === 'string' && REQUEST_ID.test(value);

export const newTraceparent = (): string => `00-${randomHex(32)}-${randomHex(16)}-01`;

/** The same trace, with a parent id of our own: what we send on. */
export const childTraceparent = (parent: string): string =>
  `${parent.slice(0, 36)}${randomHex(16)}${parent.slice(52)}`;

let idMillisecond = 0;
let idPrefix = '';

/** An id for a request: a UUIDv7 (RFC 9562), made of the pool's digits, because the library's costs ten times as much. */
export function newRequestId(): string {
  const now = Date.now();
  if (now !== idMillisecond) {
    idMillisecond = now;
    const time = now.toString(16).padStart(12, '0');
    idPrefix = `${time.slice(0, 8)}-${time.slice(8)}-7`;
  }
  const digits = randomHex(18);
  return `${idPrefix}${digits.slice(0, 3)}-a${digits.slice(3, 6)}-${digits.slice(6)}`;
}

const POOL_BYTES = 4_096;
let pool = '';
let used = 0;

/** Random hex digits out of a pool: asking the system for each id costs more than the rest of a small request's log line. */
function randomHex(digits: number): string {
  if (used + digits > pool.length) {
    pool = randomBytes(POOL_BYTES).toString('hex');
    used = 0;
  }
  used += digits;
  return pool.slice(used - digits, used);
}

export const traceIdOf = (traceparent: string): string => traceparent.slice(3, 35);

const running = new AsyncLocalStorage<string>();

/** Runs `work` as a part of a trace that came with an event: what it publishes belongs to the same trace. */
export const inTrace = <T>(traceparent: string | null, work: () => T): T =>
  validTraceparent(traceparent) ? running.run(traceparent, work) : work();

/** The trace this code runs in, or a new one. */
export const currentTraceparent = (): string => running.getStore() ?? newTraceparent();
