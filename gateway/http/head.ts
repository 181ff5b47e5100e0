import type { HeaderList, SharedHeaderList } from './headers.ts';

/** A request line and its header lines may be as large as this together; the connection answers 431 past it. */
export const MAX_HEAD_BYTES = 16_384;
const MAX_HEADER_LINES = 100;
const MAX_METHOD_LENGTH = 32;
const MAX_CONNECTION_OPTIONS = 32;

/** The head of a message is malformed, ambiguous or not for us. Its message never repeats what was sent. */
export class BadHead extends Error {
  override readonly name = 'BadHead';
  constructor(
    /** For the client's reply; a bad response head is a 502, whatever stands here. */
    readonly status: 400 | 414 | 417 | 431 | 501 | 505,
    message: string,
  ) {
    super(message);
  }
}

/** What the proxy has made of header lines for the other side: of use again wherever the same lines come. */
export interface Reuse<T> {
  passedOn?: T;
}
export interface PassedOn {
  /** Header lines for the other side, without `via`. */
  lines: string;
  /** What came as `via`, ready for ours behind it. */
  via: string;
}
export interface PassedOnReply extends PassedOn {
  /** Those of our default headers that are among the lines. */
  overridden: number;
  dated: boolean;
}

export interface RequestHead {
  method: string;
  /** As it was sent: visible ASCII, not looked at any further. `normaliseTarget` does that. */
  target: string;
  minor: 0 | 1;
  /** Changed by `changeHeaders` only. */
  headers: SharedHeaderList;
  /** Validated; '' only for HTTP/1.0 without one. */
  host: string;
  /** -1: none declared. */
  contentLength: number;
  chunked: boolean;
  keepAlive: boolean;
  /** The client waits for `100 Continue` before it sends the body that it declared. */
  expectContinue: boolean;
  /** In lower case, if Connection names `upgrade`; else ''. */
  upgrade: string;
  /** What else Connection names (lower case): headers that are not for the next hop. */
  hopByHop: readonly string[];
  /** Of lines that have come before. */
  reuse: Reuse<PassedOn> | undefined;
}

export interface ResponseHead {
  status: number;
  reason: string;
  minor: 0 | 1;
  /** Changed by `changeHeaders` only. */
  headers: SharedHeaderList;
  /** -1: none declared. */
  contentLength: number;
  chunked: boolean;
  keepAlive: boolean;
  upgrade: string;
  hopByHop: readonly string[];
  /** Of lines that have come before. */
  reuse: Reuse<PassedOnReply> | undefined;
}

/** The header lines of one message, to be changed: those that came may be those of others too. */
export function changeHeaders(head: RequestHead | ResponseHead): HeaderList {
  const headers = [...head.headers];
  head.headers = headers;
  head.reuse = undefined;
  return headers;
}

const TAB = 9;
const LF = 10;
const CR = 13;
const SPACE = 32;
const COLON = 58;
const DEL = 127;

/** Per byte: its lower case if it may stand in a token (RFC 9110, 5.6.2), else 0. */
const TOKEN = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  TOKEN[character.charCodeAt(0)] = character.toLowerCase().charCodeAt(0);
}
/** Per byte: 1 if it may stand in a value: no control character but the tab; bytes past ASCII may. */
const IN_VALUE = new Uint8Array(256).fill(1, SPACE);
IN_VALUE[TAB] = 1;
IN_VALUE[DEL] = 0;
/** What IN_VALUE leaves out. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for just these
const NOT_IN_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/g;
/** Of a longer value the rest is searched by NOT_IN_VALUE, which from there on is the faster one. */
const LONG_VALUE = 64;

/**
 * The head that is being read, as bytes, with a line break behind it where every loop ends: reading a byte of it costs
 * a third of reading a character of the string. Reading is synchronous, so that one is enough for all.
 */
const BYTES = Buffer.alloc(MAX_HEAD_BYTES + 2);

function load(text: string): void {
  const length = text.length;
  if (length > MAX_HEAD_BYTES) throw new BadHead(431, 'The head is too large.');
  BYTES.write(text, 'latin1');
  BYTES[length] = CR;
  BYTES[length + 1] = LF;
}

/**
 * Index just behind the blank line that ends a head, or -1 if it has not come yet. `from` lets a caller go on where it
 * stopped: the head's start, or 3 before the end of what was searched.
 */
export function endOfHead(bytes: Buffer, from: number): number {
  const blank = bytes.indexOf('\r\n\r\n', from, 'latin1');
  return blank < 0 ? -1 : blank + 4;
}

/**
 * Whether a line ends with a line feed alone, in bytes in which `endOfHead` found no end. Such a head is refused at
 * once: its sender believes that it is complete and would wait for nothing until the deadline.
 */
export function hasBareLineFeed(bytes: Buffer, from: number): boolean {
  for (let feed = bytes.indexOf(LF, from); feed >= 0; feed = bytes.indexOf(LF, feed + 1)) {
    if (bytes[feed - 1] !== CR) return true;
  }
  return false;
}

/** Header lines as far as they decide about framing and the connection. */
interface Fields {
  host: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  connection: string | undefined;
  upgrade: string | undefined;
  expect: string | undefined;
  /** Bits of those that may come once: met, and met again. */
  met: number;
  twice: number;
}
/** Of the head that is being read. */
const fields: Fields = {
  host: undefined,
  contentLength: undefined,
  transferEncoding: undefined,
  connection: undefined,
  upgrade: undefined,
  expect: undefined,
  met: 0,
  twice: 0,
};

const HOST = 1;
const CONTENT_LENGTH = 2;
const TRANSFER_ENCODING = 4;
const UPGRADE = 8;
const EXPECT = 16;
const AUTHORIZATION = 32;
const CONTENT_TYPE = 64;
const ORIGIN = 128;
const CONNECTION = 256;
/** A list, which may go on in a second line; a second line of any other that has a bit makes two requests of one. */
const MAY_REPEAT = CONNECTION;
const BODY_FRAMING = CONTENT_LENGTH | TRANSFER_ENCODING;
/** In a reply only these decide about something. */
const REPLY_ONCE = BODY_FRAMING | UPGRADE;

interface KnownName {
  name: string;
  /** As most senders write it, besides the lower case. */
  spelling: string;
  bit: number;
}
/** Names that come all the time, by the hash of their lower case, so that no string is made for them. */
const KNOWN: (KnownName | undefined)[] = new Array(256).fill(undefined);
for (const [spelling, bit] of Object.entries({
  Host: HOST,
  'Content-Length': CONTENT_LENGTH,
  'Transfer-Encoding': TRANSFER_ENCODING,
  Upgrade: UPGRADE,
  Expect: EXPECT,
  Authorization: AUTHORIZATION,
  'Content-Type': CONTENT_TYPE,
  Origin: ORIGIN,
  Connection: CONNECTION,
  ...Object.fromEntries(
    [
      'Accept Accept-Encoding Accept-Language Cookie DNT Idempotency-Key If-Match If-Modified-Since If-None-Match',
      'Priority Range Referer Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode',
      'Sec-Fetch-Site Sec-Fetch-User Sec-GPC Sec-WebSocket-Extensions Sec-WebSocket-Key Sec-WebSocket-Version',
      'Traceparent Tracestate Upgrade-Insecure-Requests User-Agent X-Forwarded-For X-Forwarded-Host',
      'X-Forwarded-Proto X-Real-IP X-Request-Id X-Requested-With',
      'Accept-Ranges Access-Control-Allow-Origin Age Cache-Control Content-Disposition Content-Encoding',
      'Content-Language Content-Range Content-Security-Policy Date ETag Expires Keep-Alive Last-Modified Location',
      'RateLimit-Limit RateLimit-Remaining RateLimit-Reset Referrer-Policy Retry-After Sec-WebSocket-Accept Server',
      'Set-Cookie Vary Via X-Content-Type-Options X-Frame-Options X-Powered-By',
    ].flatMap((names) => names.split(' ').map((name) => [name, 0])),
  ),
})) {
  const name = spelling.toLowerCase();
  let slot = 0;
  for (let index = 0; index < name.length; index++) slot = nextHash(slot, name.charCodeAt(index));
  while (KNOWN[slot & 255] !== undefined) slot++;
  KNOWN[slot & 255] = { name, spelling, bit };
}

function nextHash(hash: number, code: number): number {
  return (Math.imul(hash, 31) + code) | 0;
}

/** The known name at `start`, if it is one in any spelling. */
function knownName(text: string, start: number, end: number, hash: number): KnownName | undefined {
  for (let slot = hash; ; slot++) {
    const known = KNOWN[slot & 255];
    if (known === undefined) return undefined;
    if (known.name.length !== end - start) continue;
    if (text.startsWith(known.spelling, start) || text.startsWith(known.name, start)) return known;
    if (known.bit !== 0 && text.slice(start, end).toLowerCase() === known.name) return known;
  }
}

/** Reads the header lines of the loaded text from `from` to its end. What decides about framing is in `fields` then. */
function readHeaders(text: string, from: number): HeaderList {
  const headers: HeaderList = [];
  fields.host = undefined;
  fields.contentLength = undefined;
  fields.transferEncoding = undefined;
  fields.connection = undefined;
  fields.upgrade = undefined;
  fields.expect = undefined;
  fields.met = 0;
  fields.twice = 0;
  const length = text.length;
  let position = from;
  while (position < length) {
    if (headers.length === 2 * MAX_HEADER_LINES) throw new BadHead(431, 'Too many header lines.');
    const nameStart = position;
    let hash = 0;
    for (let lower = TOKEN[BYTES[position]!]!; lower !== 0; lower = TOKEN[BYTES[++position]!]!)
      hash = nextHash(hash, lower);
    if (position === nameStart || BYTES[position] !== COLON)
      throw new BadHead(400, 'A header name is malformed.');
    const known = knownName(text, nameStart, position, hash);
    const name = known === undefined ? text.slice(nameStart, position).toLowerCase() : known.name;

    let start = position + 1;
    while (isBlank(BYTES[start]!)) start++;
    const lineEnd = endOfValue(text, start);
    let end = lineEnd;
    while (end > start && isBlank(BYTES[end - 1]!)) end--;
    const value = text.slice(start, end);
    headers.push(name, value);
    if (known !== undefined && known.bit !== 0) {
      if ((known.bit & BODY_FRAMING) !== 0) refuseTabs(position + 1, lineEnd);
      note(known.bit, value);
    }
    position = afterLine(lineEnd);
  }
  return headers;
}

/** Tabs may stand around any value (RFC 9110, 5.6.3), but not all readers trim them: where a body ends must be plain. */
function refuseTabs(start: number, end: number): void {
  for (let index = start; index < end; index++)
    if (BYTES[index] === TAB) throw new BadHead(400, 'A tab in a header about framing.');
}

const isBlank = (code: number): boolean => code === SPACE || code === TAB;

/** Where the first byte is that may not stand in a value: the line break, if all is well. */
function endOfValue(text: string, start: number): number {
  const close = start + LONG_VALUE;
  let position = start;
  while (IN_VALUE[BYTES[position]!] === 1) {
    if (++position !== close) continue;
    NOT_IN_VALUE.lastIndex = position;
    return NOT_IN_VALUE.test(text) ? NOT_IN_VALUE.lastIndex - 1 : text.length;
  }
  return position;
}

/** Behind the line break that must be at `end`. */
function afterLine(end: number): number {
  if (BYTES[end] === CR && BYTES[end + 1] === LF) return end + 2;
  throw new BadHead(400, 'A line has a control character, or does not end with CRLF.');
}

function note(bit: number, value: string): void {
  if ((fields.met & bit & ~MAY_REPEAT) !== 0) fields.twice |= bit;
  fields.met |= bit;
  switch (bit) {
    case HOST:
      fields.host = value;
      break;
    case CONTENT_LENGTH:
      fields.contentLength = value;
      break;
    case TRANSFER_ENCODING:
      fields.transferEncoding = value;
      break;
    case UPGRADE:
      fields.upgrade = value;
      break;
    case EXPECT:
      fields.expect = value;
      break;
    case CONNECTION:
      fields.connection = fields.connection === undefined ? value : `${fields.connection},${value}`;
      break;
  }
}

/** `text` is a request's head as latin1, without the blank line at its end. Throws BadHead. */
export function parseRequestHead(text: string): RequestHead {
  load(text);
  let position = 0;
  while (TOKEN[BYTES[position]!] !== 0) position++;
  if (position === 0 || position > MAX_METHOD_LENGTH || BYTES[position] !== SPACE)
    throw new BadHead(400, 'The request line is malformed.');
  const method = text.slice(0, position);
  const targetStart = ++position;
  while (BYTES[position]! > SPACE && BYTES[position]! < DEL) position++;
  if (position === targetStart || BYTES[position] !== SPACE)
    throw new BadHead(400, 'The request line is malformed.');
  const target = text.slice(targetStart, position);
  const minor = readVersion(text, position + 1);
  const headers = readHeaders(text, afterLine(position + 9));

  if (fields.twice !== 0) throw new BadHead(400, 'A header that may come once came twice.');
  const host = fields.host ?? '';
  if (host === '' ? minor === 1 : !isHost(host))
    throw new BadHead(400, host === '' ? 'The Host header is missing.' : 'The Host header is not a host.');
  const chunked = isChunked(minor);
  const contentLength = lengthOf(fields.contentLength);
  const hasBody = chunked || contentLength > 0;
  // Not all who read these expect a body (RFC 9110, 9.3.1): to them it would be a second request.
  if (hasBody && isBodiless(method)) throw new BadHead(400, 'This method has no body.');

  let expectContinue = false;
  // RFC 9110, 10.1.1: an HTTP/1.0 client's expectation is ignored.
  if (fields.expect !== undefined && minor === 1) {
    if (fields.expect.toLowerCase() !== '100-continue')
      throw new BadHead(417, 'The expectation is not known.');
    expectContinue = hasBody;
  }
  const options = readConnection(fields.connection, minor);
  return {
    method,
    target,
    minor,
    headers,
    host,
    contentLength,
    chunked,
    keepAlive: options.keepAlive,
    expectContinue,
    // RFC 9110, 7.8: an HTTP/1.0 client's Upgrade is ignored.
    upgrade: options.upgrade && minor === 1 ? (fields.upgrade ?? '').toLowerCase() : '',
    hopByHop: options.hopByHop,
    reuse: undefined,
  };
}

const isBodiless = (method: string): boolean =>
  method === 'GET' || method === 'HEAD' || method === 'OPTIONS' || method === 'TRACE' || method === 'CONNECT';

/** `text` is a response's head as latin1, without the blank line at its end. Throws BadHead. */
export function parseResponseHead(text: string): ResponseHead {
  load(text);
  const minor = readVersion(text, 0);
  if (BYTES[8] !== SPACE) throw new BadHead(400, 'The status line is malformed.');
  let status = 0;
  for (let index = 9; index < 12; index++) {
    const digit = BYTES[index]! - 48;
    if (digit < 0 || digit > 9) throw new BadHead(400, 'The status is not a number.');
    status = status * 10 + digit;
  }
  if (status < 100) throw new BadHead(400, 'The status is not a number.');
  let position = 12;
  let reason = '';
  // Nobody reads the reason; a server may leave it out, and some leave out the space before it as well.
  if (BYTES[position] === SPACE) {
    position = endOfValue(text, 13);
    reason = text.slice(13, position);
  }
  const headers = readHeaders(text, afterLine(position));
  // Two Content-Lengths alike could be taken for one (RFC 9112, 6.3), but a service that sends two is broken.
  if ((fields.twice & REPLY_ONCE) !== 0) throw new BadHead(400, 'A header that may come once came twice.');
  const chunked = isChunked(minor);
  const contentLength = lengthOf(fields.contentLength);
  // RFC 9112, 6.1 and RFC 9110, 8.6: a body announced where none can be leaves its bytes to the next reply.
  if ((status < 200 || status === 204) && (chunked || contentLength > 0))
    throw new BadHead(400, 'This status has no body.');
  const options = readConnection(fields.connection, minor);
  return {
    status,
    reason,
    minor,
    headers,
    contentLength,
    chunked,
    keepAlive: options.keepAlive,
    upgrade: options.upgrade ? (fields.upgrade ?? '').toLowerCase() : '',
    hopByHop: options.hopByHop,
    reuse: undefined,
  };
}

/** Header lines with no line before them: the trailers behind a last chunk. Throws BadHead. */
export function parseTrailers(text: string): HeaderList {
  load(text);
  return readHeaders(text, 0);
}

/** Reads `HTTP/1.1` or `HTTP/1.0` at the position. */
function readVersion(text: string, position: number): 0 | 1 {
  if (text.startsWith('HTTP/1.', position)) {
    const minor = BYTES[position + 7];
    if (minor === 49) return 1;
    if (minor === 48) return 0;
  }
  throw /^HTTP\/\d\.\d(?:\r\n|$)/.test(text.slice(position, position + 10))
    ? new BadHead(505, 'Only HTTP/1.1 and HTTP/1.0 are spoken here.')
    : new BadHead(400, 'The HTTP version is malformed.');
}

/** Whether a body comes in chunks; any other coding, or a length besides, is refused (RFC 9112, 6.1 and 6.3). */
function isChunked(minor: 0 | 1): boolean {
  const coding = fields.transferEncoding?.toLowerCase();
  if (coding === undefined) return false;
  if (minor === 0) throw new BadHead(400, 'HTTP/1.0 has no transfer codings.');
  if (fields.contentLength !== undefined)
    throw new BadHead(400, 'Content-Length and Transfer-Encoding together.');
  if (coding === 'chunked') return true;
  // Where chunks come last and once, it is a coding that we don't know; else nobody knows where the body ends.
  throw /^[^"]*,[ \t]*chunked$/.test(coding) && coding.indexOf('chunked') === coding.length - 7
    ? new BadHead(501, 'The transfer coding is not known.')
    : new BadHead(400, 'The Transfer-Encoding is malformed.');
}

/** Digits only and no list; a leading zero is refused too, because some readers take the rest for octal. */
function lengthOf(value: string | undefined): number {
  if (value === undefined) return -1;
  const digits = value.length;
  let length = 0;
  for (let index = 0; index < digits; index++) {
    const digit = value.charCodeAt(index) - 48;
    if (digit < 0 || digit > 9) throw new BadHead(400, 'The Content-Length is not a number.');
    length = length * 10 + digit;
  }
  // Up to the limit the sum is exact; rounding never brings what is past it back below.
  if (digits === 0 || length > Number.MAX_SAFE_INTEGER)
    throw new BadHead(400, 'The Content-Length is not a number.');
  if (digits > 1 && value.charCodeAt(0) === 48)
    throw new BadHead(400, 'The Content-Length has a leading zero.');
  return length;
}

interface ConnectionOptions {
  keepAlive: boolean;
  upgrade: boolean;
  hopByHop: readonly string[];
}
const NONE: readonly string[] = [];
const STAYS: ConnectionOptions = { keepAlive: true, upgrade: false, hopByHop: NONE };
const CLOSES: ConnectionOptions = { keepAlive: false, upgrade: false, hopByHop: NONE };

function readConnection(value: string | undefined, minor: 0 | 1): ConnectionOptions {
  if (value === undefined) return minor === 1 ? STAYS : CLOSES;
  if (value === 'keep-alive') return STAYS;
  if (value === 'close') return CLOSES;
  let close = false;
  let keep = false;
  let upgrade = false;
  const hopByHop: string[] = [];
  const parts = value.split(',');
  // Each is looked for among all headers.
  if (parts.length > MAX_CONNECTION_OPTIONS) throw new BadHead(400, 'Connection names too much.');
  for (const part of parts) {
    const option = part.trim().toLowerCase();
    if (option === 'close') close = true;
    else if (option === 'keep-alive') keep = true;
    else if (option === 'upgrade') upgrade = true;
    else if (option !== '') hopByHop.push(option);
  }
  return { keepAlive: !close && (minor === 1 || keep), upgrade, hopByHop };
}

/**
 * Host = uri-host [":" port], without userinfo (RFC 9110, 7.2; RFC 3986, 3.2.2): letters, digits, `.`, `_` and `-`
 * between letters or digits, perhaps a dot at the end; or an IPv6 address in brackets.
 */
function isHost(host: string): boolean {
  let position = 0;
  if (host.charCodeAt(0) === 91) {
    position = host.indexOf(']');
    if (position < 3 || position > 46) return false;
    for (let index = 1; index < position; index++) {
      const code = host.charCodeAt(index);
      // 0-9 and the colon, a-f in any case, the dot.
      if (!((code >= 48 && code <= 58) || ((code | 32) >= 97 && (code | 32) <= 102) || code === 46))
        return false;
    }
    position++;
  } else {
    let last = 0;
    let beforeLast = 0;
    for (; position < host.length; position++) {
      const code = host.charCodeAt(position);
      if (code === COLON) break;
      if (!isLetterOrDigit(code) && code !== 45 && code !== 46 && code !== 95) return false;
      beforeLast = last;
      last = code;
    }
    if (!isLetterOrDigit(host.charCodeAt(0))) return false;
    if (!isLetterOrDigit(last) && !(last === 46 && isLetterOrDigit(beforeLast))) return false;
  }
  if (position === host.length) return true;
  const digits = host.length - position - 1;
  if (host.charCodeAt(position) !== COLON || digits < 1 || digits > 5) return false;
  for (let index = position + 1; index < host.length; index++) {
    const code = host.charCodeAt(index);
    if (code < 48 || code > 57) return false;
  }
  return true;
}

const isLetterOrDigit = (code: number): boolean =>
  (code >= 48 && code <= 57) || ((code | 32) >= 97 && (code | 32) <= 122);
