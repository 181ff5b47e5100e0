import type { Exchange } from '../exchange.ts';

/** For replies of the API: nothing in them is ever a page. */
const API_POLICY = "default-src 'none'; frame-ancestors 'none'";
/** For our own pages: their own scripts and styles, nothing inline, nobody's frame. */
export const pagePolicy = (faroUrl: string | undefined): string =>
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
  `connect-src 'self'${faroUrl ? ` ${new URL(faroUrl).origin}` : ''}; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ALWAYS: [string, string][] = [
  ['x-content-type-options', 'nosniff'],
  ['referrer-policy', 'strict-origin-when-cross-origin'],
  ['cross-origin-opener-policy', 'same-origin'],
  ['permissions-policy', 'camera=(), geolocation=(), microphone=(), payment=(), usb=()'],
];

/** Sets what every reply has; a service may be stricter about its own policy and referrers. */
export function addSecurityHeaders(exchange: Exchange, publicUrl: string): void {
  for (const [name, value] of ALWAYS) exchange.defaults.set(name, value);
  exchange.defaults.set('content-security-policy', API_POLICY);
  // RFC 6797; two years, as browsers' preload lists ask.
  if (publicUrl.startsWith('https://'))
    exchange.headers.set('strict-transport-security', 'max-age=63072000; includeSubDomains');
}
