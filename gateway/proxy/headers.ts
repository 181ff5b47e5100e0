import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../exchange.ts';

/** Meant for the next hop only (RFC 9110, 7.6.1), with the old and new ways to break out of it. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** What we say about a request ourselves, so nobody else may. */
const OURS = new Set([
  'host',
  'content-length',
  'expect',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  'traceparent',
]);
const OURS_PREFIXES = ['x-forwarded-', 'x-user-', 'x-lyceum-', 'x-original-', 'x-rewrite-'];

export type HeaderLines = Record<string, string | string[]>;

/**
 * The client's headers as the service may see them. A name with an underscore goes: to a CGI-minded reader
 * `X_User_Id` is `X-User-Id`. `host` is the upstream's own; what the client asked for is in X-Forwarded-Host.
 */
export function requestHeaders(exchange: Exchange, host: string): HeaderLines {
  const lines: HeaderLines = {};
  const hop = connectionNamed(exchange.request.headers.connection);
  eachHeader(exchange.request, (name, value) => {
    if (HOP_BY_HOP.has(name) || hop.has(name) || OURS.has(name) || name.includes('_')) return;
    if (OURS_PREFIXES.some((prefix) => name.startsWith(prefix))) return;
    if (name === 'tracestate' && !exchange.continuesTrace) return;
    const known = lines[name];
    lines[name] = known === undefined ? value : [known, value].flat();
  });
  lines.host = host;
  lines['x-request-id'] = exchange.requestId;
  lines.traceparent = exchange.traceparent;
  lines['x-forwarded-for'] = exchange.address;
  lines['x-forwarded-proto'] = exchange.scheme;
  if (exchange.host) lines['x-forwarded-host'] = exchange.host;
  return lines;
}

/** The service's headers as the client gets them, as a flat list of names and values: ours win, our defaults don't. */
export function replyHeaders(exchange: Exchange, reply: IncomingMessage): string[] {
  const flat: string[] = [];
  const seen = new Set<string>();
  const hop = connectionNamed(reply.headers.connection);
  // A limit of the service's own was met: our "42 remaining" would contradict it.
  if (reply.statusCode === 429 && exchange.headers.has('ratelimit-remaining')) {
    exchange.headers.set('ratelimit-remaining', '0');
    if (reply.headers['retry-after'] !== undefined)
      exchange.headers.set('ratelimit-reset', reply.headers['retry-after']);
  }
  eachHeader(reply, (name, value) => {
    if (HOP_BY_HOP.has(name) || hop.has(name) || name.startsWith('access-control-')) return;
    if (name === 'server' || name === 'x-powered-by') return;
    if (name === 'vary' && exchange.headers.has('vary'))
      exchange.headers.set('vary', `${exchange.headers.get('vary')}, ${value}`);
    if (exchange.headers.has(name)) return;
    seen.add(name);
    flat.push(name, value);
  });
  for (const [name, value] of exchange.headers) flat.push(name, value);
  for (const [name, value] of exchange.defaults) if (!seen.has(name)) flat.push(name, value);
  return flat;
}

const connectionNamed = (connection: string | undefined): Set<string> =>
  new Set(connection?.split(',').map((name) => name.trim().toLowerCase()) ?? []);

function eachHeader(message: IncomingMessage, visit: (name: string, value: string) => void): void {
  const { rawHeaders } = message;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    visit(rawHeaders[index]!.toLowerCase(), rawHeaders[index + 1]!);
  }
}
