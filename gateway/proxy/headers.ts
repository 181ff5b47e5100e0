import type { Exchange } from '../exchange.ts';
import { httpDate } from '../http/date.ts';
import type { PassedOn, PassedOnReply, ResponseHead } from '../http/head.ts';
import { headerOf, type SharedHeaderList } from '../http/headers.ts';
import { defaultBit } from '../policy/security-headers.ts';

/** What we tell services about the client, and both sides about ourselves. */
export interface ForwardingHeaders {
  /** `x-forwarded-for`, `-proto` and `-host`. */
  xForwarded: boolean;
  /** RFC 7239. */
  forwarded: boolean;
  /** Our name in `via` (RFC 9110, 7.6.3); empty: no such header. */
  via: string;
}

/** Meant for the next hop only (RFC 9110, 7.6.1), with the old and new ways to break out of it. */
const HOP_BY_HOP = [
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
];
/** What we say about a request ourselves, so nobody else may. */
const NOT_FORWARDED = new Set([
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'expect',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  'traceparent',
]);
const OUR_PREFIXES = ['x-forwarded-', 'x-user-', 'x-lyceum-', 'x-original-', 'x-rewrite-'];
/** What a reply says is for us alone, or about software that nobody needs to know. */
const NOT_RELAYED = new Set([
  ...HOP_BY_HOP,
  'content-length',
  'server',
  'x-powered-by',
  'x-request-id',
  'traceparent',
]);

const LETTER_X = 120;

/**
 * The head of a request as the service gets it, without framing and the blank line. A name with an underscore goes: to
 * a CGI-minded reader `X_User_Id` is `X-User-Id`. What the client asked for as Host is in X-Forwarded-Host.
 */
export function requestHead(exchange: Exchange, upstreamHost: string, names: ForwardingHeaders): string {
  const { reuse } = exchange.head;
  const passedOn = reuse?.passedOn ?? passedOnRequest(exchange, names);
  if (reuse) reuse.passedOn = passedOn;
  let text =
    `${exchange.method} ${exchange.path}${exchange.query} HTTP/1.1\r\nhost: ${upstreamHost}\r\n` +
    `${passedOn.lines}x-request-id: ${exchange.requestId}\r\ntraceparent: ${exchange.traceparent}\r\n`;
  if (names.xForwarded) {
    text += `x-forwarded-for: ${exchange.address}\r\nx-forwarded-proto: ${exchange.scheme}\r\n`;
    if (exchange.host !== '') text += `x-forwarded-host: ${exchange.host}\r\n`;
  }
  if (names.forwarded) text += `forwarded: ${forwarded(exchange)}\r\n`;
  if (names.via !== '') text += `via: ${passedOn.via}1.${exchange.head.minor} ${names.via}\r\n`;
  return text;
}

/** Of a client's header lines those that are for the service. Nothing but the lines themselves and `names` decides. */
function passedOnRequest({ head, continuesTrace }: Exchange, names: ForwardingHeaders): PassedOn {
  const { headers, hopByHop } = head;
  let lines = '';
  let via = '';
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (NOT_FORWARDED.has(name) || (hopByHop.length > 0 && hopByHop.includes(name)) || name.includes('_'))
      continue;
    if (name.charCodeAt(0) === LETTER_X && OUR_PREFIXES.some((prefix) => name.startsWith(prefix))) continue;
    if (name === 'tracestate' && !continuesTrace) continue;
    if (name === 'via' && names.via !== '') {
      via += `${headers[index + 1]}, `;
      continue;
    }
    lines += `${name}: ${headers[index + 1]}\r\n`;
  }
  return { lines, via };
}

/** RFC 7239, 4: an IPv6 address and anything with a colon stands in quotes. */
function forwarded({ address, scheme, host }: Exchange): string {
  const client = address.includes(':') ? `"[${address}]"` : address;
  return `for=${client};proto=${scheme}${host === '' ? '' : `;host="${host}"`}`;
}

/** The lines of a service's reply as the client gets them, and which of our default headers are among them. */
export function replyLines(
  exchange: Exchange,
  reply: ResponseHead,
  names: ForwardingHeaders,
): { lines: string; overridden: number } {
  const reuse = reply.reuse && !haveCommonName(reply.headers, exchange.ours) ? reply.reuse : undefined;
  const passedOn = reuse?.passedOn ?? passedOnReply(exchange, reply, names);
  if (reuse) reuse.passedOn = passedOn;
  let { lines } = passedOn;
  // RFC 9110, 6.6.1: who passes a reply on dates it.
  if (!passedOn.dated) lines += `date: ${httpDate()}\r\n`;
  if (names.via !== '') lines += `via: ${passedOn.via}1.${reply.minor} ${names.via}\r\n`;
  return { lines, overridden: passedOn.overridden };
}

/** Of a service's header lines those that are for the client. Ours win, and are all that the exchange has a say in. */
function passedOnReply(exchange: Exchange, reply: ResponseHead, names: ForwardingHeaders): PassedOnReply {
  const { headers, hopByHop } = reply;
  const { ours } = exchange;
  let lines = '';
  let overridden = 0;
  let via = '';
  let dated = false;
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!;
    if (
      NOT_RELAYED.has(name) ||
      (hopByHop.length > 0 && hopByHop.includes(name)) ||
      name.startsWith('access-control-')
    )
      continue;
    const value = headers[index + 1]!;
    if (name === 'via' && names.via !== '') {
      via += `${value}, `;
      continue;
    }
    const own = headerOf(ours, name);
    if (own !== undefined) {
      // Lists: ours and the service's are both true.
      if (name === 'vary' || name === 'link') exchange.setHeader(name, `${own}, ${value}`);
      continue;
    }
    overridden |= defaultBit(name);
    if (name === 'date') dated = true;
    lines += `${name}: ${value}\r\n`;
  }
  return { lines, via, overridden, dated };
}

function haveCommonName(some: SharedHeaderList, others: SharedHeaderList): boolean {
  for (let index = 0; index < others.length; index += 2)
    if (headerOf(some, others[index]!) !== undefined) return true;
  return false;
}

/** A 1xx passes with what it says (103 carries links), without what is ours. */
export function informationLines(reply: ResponseHead): string {
  let lines = '';
  for (let index = 0; index < reply.headers.length; index += 2) {
    const name = reply.headers[index]!;
    if (!NOT_RELAYED.has(name) && !reply.hopByHop.includes(name))
      lines += `${name}: ${reply.headers[index + 1]}\r\n`;
  }
  return lines;
}

/** Sets what a reply of 429 from a service itself must say: our own "42 remaining" would contradict it. */
export function agreeOnLimit(exchange: Exchange, reply: SharedHeaderList): void {
  if (headerOf(exchange.ours, 'ratelimit-remaining') === undefined) return;
  exchange.setHeader('ratelimit-remaining', '0');
  const retryAfter = headerOf(reply, 'retry-after');
  if (retryAfter !== undefined) exchange.setHeader('ratelimit-reset', retryAfter);
}
