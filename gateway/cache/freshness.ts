import type { ResponseHead } from '../http/head.ts';
import { headerOf, type SharedHeaderList } from '../http/headers.ts';

/** How long a reply may be used again, in milliseconds from when it came. */
export interface Lifetime {
  freshMs: number;
  /** Past that: while it is asked for anew (RFC 5861, 3). */
  staleWhileRevalidateMs: number;
  /** Past that: while the service fails (RFC 5861, 4). */
  staleIfErrorMs: number;
  /** Its age when it came, in milliseconds. */
  ageMs: number;
}

const STATUSES = new Set([200, 301, 404]);
const NEVER = ['private', 'no-store', 'no-cache'];

/**
 * Whether a reply may be kept for everybody, and for how long: only if it says `public` and a time (RFC 9111, 3).
 * What it leaves unsaid is never guessed.
 */
export function lifetimeOf({ status, headers, contentLength, chunked }: ResponseHead): Lifetime | undefined {
  if (!STATUSES.has(status)) return undefined;
  // Only the end of the connection would say that it is whole.
  if (contentLength < 0 && !chunked) return undefined;
  const control = directivesOf(headers);
  if (!control.has('public') || NEVER.some((name) => control.has(name))) return undefined;
  if (headerOf(headers, 'set-cookie') !== undefined || varyOf(headers).includes('*')) return undefined;
  const fresh = seconds(control, 's-maxage') ?? seconds(control, 'max-age');
  if (fresh === undefined) return undefined;
  const mayBeStale = !control.has('must-revalidate') && !control.has('proxy-revalidate');
  const age = headerOf(headers, 'age') ?? '';
  const lifetime: Lifetime = {
    freshMs: fresh * 1_000,
    staleWhileRevalidateMs: mayBeStale ? (seconds(control, 'stale-while-revalidate') ?? 0) * 1_000 : 0,
    staleIfErrorMs: mayBeStale ? (seconds(control, 'stale-if-error') ?? 0) * 1_000 : 0,
    ageMs: (/^\d{1,9}$/.test(age) ? Number(age) : 0) * 1_000,
  };
  const longest = lifetime.freshMs + Math.max(lifetime.staleWhileRevalidateMs, lifetime.staleIfErrorMs);
  return longest > lifetime.ageMs ? lifetime : undefined;
}

/** The request headers that a reply depends on, in lower case. */
export function varyOf(headers: SharedHeaderList): string[] {
  const names: string[] = [];
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] !== 'vary') continue;
    for (const name of headers[index + 1]!.split(',')) {
      const trimmed = name.trim().toLowerCase();
      if (trimmed !== '' && !names.includes(trimmed)) names.push(trimmed);
    }
  }
  return names.sort();
}

/** By lower-case name; a directive without a value has ''. Said twice, the first counts (RFC 9111, 4.2.1). */
function directivesOf(headers: SharedHeaderList): Map<string, string> {
  const found = new Map<string, string>();
  for (let index = 0; index < headers.length; index += 2) {
    if (headers[index] !== 'cache-control') continue;
    for (const [, name, value = ''] of headers[index + 1]!.matchAll(
      /([\w-]+)(?:\s*=\s*("[^"]*"|[^,\s]*))?/g,
    )) {
      const key = name!.toLowerCase();
      if (!found.has(key)) found.set(key, value.replace(/^"|"$/g, ''));
    }
  }
  return found;
}

/** Undefined if it is not there; a time that is none counts as none at all. */
function seconds(directives: ReadonlyMap<string, string>, name: string): number | undefined {
  const value = directives.get(name);
  if (value === undefined) return undefined;
  return /^\d+$/.test(value) ? Math.min(Number(value), 31_536_000) : 0;
}
