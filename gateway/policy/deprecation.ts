import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';

/** What a line of the routing table says about a route that clients should leave. Days as `2026-01-31`, or times. */
export interface DeprecatedSince {
  since: string;
  /** From then on it may be gone. */
  sunset?: string;
  /** It is gone at its sunset: 410. Otherwise it goes on to answer. */
  goneAtSunset?: boolean;
  /** Where it is said what to use instead: a path of ours or an URL. */
  link?: string;
}

/** The same, ready for every reply. */
export interface Deprecation {
  headers: readonly (readonly [name: string, value: string])[];
  /** As `Date.now()`. */
  goneAt: number;
  /** What a caller is told from then on. */
  detail: string;
}

/** Throws an Error that says what is wrong with it. */
export function deprecationOf(route: string, row: DeprecatedSince): Deprecation {
  const wrong = (what: string): never => {
    throw new Error(`gateway/routes.ts: ${route}: ${what}`);
  };
  const time = (name: string, text: string): number => {
    const ms = /^\d{4}-\d\d-\d\d(T\S+Z)?$/.test(text) ? Date.parse(text) : Number.NaN;
    return Number.isNaN(ms) ? wrong(`${name} ${text} is no day and no time in UTC`) : ms;
  };
  const { link } = row;
  const since = time('deprecated since', row.since);
  const sunset = row.sunset === undefined ? undefined : time('sunset', row.sunset);
  if (sunset !== undefined && sunset < since) wrong('its sunset is before its deprecation');
  if (row.goneAtSunset && sunset === undefined) wrong('it can not be gone at a sunset that it does not have');
  if (link !== undefined && !/^(?:https:\/\/|\/(?!\/))[\w.~:/?#@!$&'()*+,;=%-]*$/.test(link))
    wrong(`link ${link} is neither a path nor an https URL`);

  // RFC 9745, 2.1: a structured date; RFC 8594, 3: an HTTP date.
  const headers: [string, string][] = [['deprecation', `@${Math.floor(since / 1_000)}`]];
  if (sunset !== undefined) headers.push(['sunset', new Date(sunset).toUTCString()]);
  if (link !== undefined) {
    const relations = sunset === undefined ? 'deprecation' : 'deprecation sunset';
    headers.push(['link', `<${link}>; rel="${relations}"; type="text/html"`]);
  }
  return {
    headers,
    goneAt: row.goneAtSunset && sunset !== undefined ? sunset : Number.POSITIVE_INFINITY,
    detail: `This route is no more.${link === undefined ? '' : ` What to use instead: ${link}`}`,
  };
}

/** Tells who calls a deprecated route (RFC 9745, RFC 8594). Throws `gone` past its sunset, if the table says so. */
export function announceDeprecation(exchange: Exchange): void {
  const deprecation = exchange.rule?.deprecation;
  if (deprecation === undefined) return;
  for (const [name, value] of deprecation.headers) exchange.setHeader(name, value);
  if (Date.now() >= deprecation.goneAt) throw new Problem('gone', deprecation.detail);
}
