import { createHash } from 'node:crypto';
import { Problem } from '../errors.ts';

/** A strong entity tag of a JSON representation (RFC 9110, 8.8.3). */
export const etagOf = (body: unknown): string =>
  `"${createHash('sha256').update(JSON.stringify(body)).digest('base64url').slice(0, 27)}"`;

/** True if the header (If-None-Match, If-Match) lists the tag or is `*`; `weak` compares as RFC 9110, 8.8.3.2 says. */
export function matchesEtag(header: string, tag: string, weak: boolean): boolean {
  if (header.trim() === '*') return true;
  const strip = (value: string) => (weak ? value.replace(/^W\//, '') : value);
  return header.split(',').some((candidate) => strip(candidate.trim()) === strip(tag));
}

/** Throws `precondition-failed` if the request has an If-Match that the current representation does not meet. */
export function requireMatch(request: Request, current: unknown): void {
  const header = request.headers.get('if-match');
  if (header && !matchesEtag(header, etagOf(current), false)) throw new Problem('precondition-failed');
}
