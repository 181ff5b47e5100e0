import { Problem } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import { METHODS } from '../routes.ts';

/** Host = uri-host [":" port], without userinfo (RFC 9110, 7.2; RFC 3986, 3.2.2). */
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
/** Headers of which a second line could make two readers see two different requests. */
const SINGLE = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'authorization',
  'content-type',
  'expect',
  'origin',
]);
const KNOWN_METHODS = new Set<string>([...METHODS, 'OPTIONS']);

/**
 * Refuses what is well-formed enough for the parser but ambiguous between us and whoever reads it next (request
 * smuggling, routing by Host). Throws `validation-failed` or `method-not-allowed`.
 */
export function checkRequestHead(exchange: Exchange): void {
  const { request, method, path, query } = exchange;
  const seen = new Set<string>();
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index]!.toLowerCase();
    if (SINGLE.has(name) && seen.has(name)) throw malformed(`Two ${name} headers.`);
    seen.add(name);
  }
  const host = request.headers.host ?? '';
  if (host === '' && request.httpVersion !== '1.0') throw malformed('The Host header is missing.');
  if (host !== '' && !HOST.test(host)) throw malformed('The Host header is not a host.');
  // RFC 9112, 6.1: chunks in HTTP/1.0 are faulty framing.
  if (request.httpVersion === '1.0' && request.headers['transfer-encoding'] !== undefined)
    throw malformed('HTTP/1.0 has no chunks.');
  exchange.host = host;

  if (!KNOWN_METHODS.has(method)) {
    throw new Problem('method-not-allowed', undefined, { headers: { allow: [...KNOWN_METHODS].join(', ') } });
  }
  if ((method === 'GET' || method === 'HEAD' || method === 'OPTIONS') && exchange.hasBody) {
    throw malformed(`A ${method} request has no body.`);
  }
  // Only origin-form targets (RFC 9112, 3.2.1), and only paths that mean the same to every reader.
  if (!path.startsWith('/') || /[^\x21-\x7e]|[\\#"<>^`{|}]/.test(path + query))
    throw malformed('The path is not valid.');
  if (/%(?![0-9A-Fa-f]{2})|%(?:00|2[fF]|5[cC])/.test(path)) throw malformed('The path is not valid.');
  const segments = path.slice(1).split('/');
  const isDots = (segment: string): boolean => /^\.{1,2}$/.test(segment.replace(/%2[eE]/g, '.'));
  if (segments.some((segment, index) => isDots(segment) || (segment === '' && index < segments.length - 1))) {
    throw malformed('The path is not valid.');
  }
}

/** The connection is closed after it: whatever follows on it may not be what it seems. */
const malformed = (detail: string): Problem =>
  new Problem('validation-failed', detail, { headers: { connection: 'close' } });
