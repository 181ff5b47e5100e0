import type { Exchange } from '../exchange.ts';

/** For replies of the API: nothing in them is ever a page. */
const API_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** For our own pages: their own scripts and styles, nothing inline, nobody's frame. */
export const pagePolicy = (faroUrl: string | undefined): string =>
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
  `connect-src 'self'${faroUrl ? ` ${new URL(faroUrl).origin}` : ''}; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** On every reply, unless it brings its own: a service may be stricter about its own policy and referrers. */
const DEFAULTS: readonly (readonly [name: string, value: string])[] = [
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'strict-origin-when-cross-origin'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['permissions-policy', 'camera=(), geolocation=(), microphone=(), payment=(), usb=()'],
  ['content-security-policy', API_POLICY],
];

/** The place of a default header in a set of them, as one bit; 0 for any other header. */
export function defaultBit(name: string): number {
  for (let index = 0; index < DEFAULTS.length; index++) if (DEFAULTS[index]![0] === name) return 1 << index;
  return 0;
}

/** The lines of all defaults but those in the set `skipped`, made once for each set. */
export const defaultLines = (skipped: number): string => LINES[skipped]!;

const LINES: readonly string[] = Array.from({ length: 1 << DEFAULTS.length }, (_, skipped) =>
  DEFAULTS.filter((_, index) => !(skipped & (1 << index)))
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join(''),
);

/** RFC 6797, where the public address is HTTPS; two years, as browsers' preload lists ask. */
export function addTransportSecurity(exchange: Exchange, https: boolean): void {
  if (https) exchange.setHeader('strict-transport-security', 'max-age=63072000; includeSubDomains');
}
