import { AUTH, get, HOST, JSON_PATH, ok, post, UPLOAD_PATH } from './wire.ts';

/** What is said to the gateway and to nginx alike, and where they may differ. */

export interface DifferentialCase {
  name: string;
  /** What the client sends, at once. */
  request: string;
  /** What the service answers to each request; `ok()` unless told otherwise. */
  reply?: string | Uint8Array;
  /** How many replies are waited for; 1 unless told otherwise. */
  replies?: number;
  /** The service closes behind its reply. */
  replyCloses?: boolean;
}

const UP = UPLOAD_PATH;
const COURSES = '/api/content/courses';
const chunks = 'Transfer-Encoding: chunked\r\n';
const H11 = 'HTTP/1.1 200 OK\r\n';

export const CASES: DifferentialCase[] = [
  // Methods and bodies
  { name: 'GET', request: get(JSON_PATH) },
  { name: 'GET with a query', request: get(`${JSON_PATH}?a=1&b=%2F&c=%20x&d`) },
  {
    name: 'HEAD',
    request: `HEAD ${JSON_PATH} HTTP/1.1\r\n${HOST}${AUTH}\r\n`,
    reply: `${H11}Content-Length: 9\r\n\r\n`,
  },
  { name: 'POST with a length', request: post(JSON_PATH, 'Content-Length: 7\r\n', '{"a":1}') },
  { name: 'POST with a length of 0', request: post(JSON_PATH, 'Content-Length: 0\r\n') },
  { name: 'POST without a body', request: post(JSON_PATH, '') },
  { name: 'POST in chunks', request: post(JSON_PATH, chunks, '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n') },
  { name: 'POST in no chunk', request: post(JSON_PATH, chunks, '0\r\n\r\n') },
  { name: 'chunks with extensions', request: post(JSON_PATH, chunks, '3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n') },
  {
    name: 'chunks with sizes in capitals and zeros',
    request: post(JSON_PATH, chunks, '00A\r\n0123456789\r\n000\r\n\r\n'),
  },
  { name: 'an upload in chunks', request: post(UP, chunks, '3\r\nabc\r\n0\r\n\r\n') },
  { name: 'an upload with a length', request: post(UP, 'Content-Length: 3\r\n', 'abc') },
  { name: 'an upload with trailers', request: post(UP, chunks, '3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n') },
  { name: 'trailers of a JSON body', request: post(JSON_PATH, chunks, '2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n') },
  { name: 'PUT', request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}').replace('POST', 'PUT') },
  { name: 'PATCH', request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}').replace('POST', 'PATCH') },
  {
    name: 'DELETE without a body',
    request: get(JSON_PATH).replace('GET', 'DELETE'),
    reply: 'HTTP/1.1 204 No Content\r\n\r\n',
  },
  {
    name: 'DELETE with a body',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}').replace('POST', 'DELETE'),
  },
  {
    name: 'a body that looks like a request',
    request: post(JSON_PATH, 'Content-Length: 40\r\n', get('/x').slice(0, 40)),
  },
  {
    name: 'a body of every byte',
    request: post(JSON_PATH, 'Content-Length: 256\r\n', String.fromCharCode(...Array(256).keys())),
  },
  { name: 'a body over the limit', request: post(JSON_PATH, 'Content-Length: 2000000\r\n', 'x') },
  { name: 'GET with a body', request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}').replace('POST', 'GET') },
  { name: 'GET with a length of 0', request: get(JSON_PATH, 'Content-Length: 0\r\n') },
  { name: 'a method in small letters', request: get(JSON_PATH).replace('GET', 'get') },
  { name: 'a method that nobody knows', request: get(JSON_PATH).replace('GET', 'BREW') },
  { name: 'TRACE', request: get(JSON_PATH).replace('GET', 'TRACE') },
  { name: 'OPTIONS', request: get(JSON_PATH).replace('GET', 'OPTIONS') },
  { name: 'OPTIONS *', request: get('*').replace('GET', 'OPTIONS') },
  { name: 'CONNECT', request: get('school.example:443').replace('GET', 'CONNECT') },

  // Targets
  { name: 'dot segments', request: get('/api/chat/x/../rooms/./y') },
  { name: 'dot segments, escaped', request: get('/api/chat/x/%2e%2e/rooms') },
  { name: 'dot segments above the root', request: get('/../api/chat/rooms') },
  { name: 'dot segments out of the service', request: get('/api/chat/../../metrics') },
  { name: 'a double slash', request: get('/api/chat//rooms') },
  { name: 'a double slash first', request: get('//api/chat/rooms') },
  { name: 'an escaped slash', request: get('/api/chat/a%2Fb') },
  { name: 'an escaped backslash', request: get('/api/chat/a%5Cb') },
  { name: 'a backslash', request: get('/api/chat/a\\b') },
  { name: 'an escaped NUL', request: get('/api/chat/a%00b') },
  { name: 'an escaped line break', request: get('/api/chat/a%0d%0aX-A:b') },
  { name: 'escapes of letters', request: get('/api/chat/%72ooms') },
  { name: 'escapes in small letters', request: get('/api/chat/%c3%a9') },
  { name: 'escapes of escapes', request: get('/api/chat/%252e%252e') },
  { name: 'a broken escape', request: get('/api/chat/%zz') },
  { name: 'a broken escape in the query', request: get(`${JSON_PATH}?a=%zz`) },
  { name: 'a semicolon', request: get('/api/chat/rooms;v=1') },
  { name: 'all that may stand in a path', request: get("/api/chat/-._~!$&'()*+,;=:@") },
  { name: 'bytes past ASCII in the target', request: get('/api/chat/caf\xe9') },
  { name: 'characters that a URI has not', request: get('/api/chat/{x}|y') },
  { name: 'a fragment', request: get(`${JSON_PATH}#x`) },
  { name: 'a space in the target', request: get('/api/chat/ro oms') },
  { name: 'an empty query', request: get(`${JSON_PATH}?`) },
  { name: 'a question mark in the query', request: get(`${JSON_PATH}?a=?b=/../c`) },
  { name: 'absolute form', request: get(`http://school.example${JSON_PATH}`) },
  { name: 'absolute form of another host', request: get(`http://other.example${JSON_PATH}`) },
  { name: 'a target without a slash', request: get('api/chat/rooms') },
  { name: 'a target of 8,000 bytes', request: get(`${JSON_PATH}?q=`.padEnd(8_000, 'x')) },
  { name: 'a target of 20,000 bytes', request: get(`${JSON_PATH}?q=`.padEnd(20_000, 'x')) },

  // Header lines
  {
    name: 'names in any case, order and repetition',
    request: get(JSON_PATH, 'X-B: 1\r\nx-a: 2\r\nX-B: 3\r\nAccept: a\r\naccept: b\r\n'),
  },
  { name: 'spaces around a value', request: get(JSON_PATH, 'X-A: \t 1 2 \t \r\n') },
  { name: 'no space before a value', request: get(JSON_PATH, 'X-A:1\r\n') },
  { name: 'an empty value', request: get(JSON_PATH, 'X-A:\r\nX-B: \r\n') },
  { name: 'bytes past ASCII in a value', request: get(JSON_PATH, 'X-A: caf\xe9\r\n') },
  { name: 'odd characters in a name', request: get(JSON_PATH, "X!#$%&'*+.^`|~9: 1\r\n") },
  { name: 'an underscore in a name', request: get(JSON_PATH, 'X_A: 1\r\n') },
  { name: 'cookies', request: get(JSON_PATH, 'Cookie: a=b; c="d"\r\n') },
  { name: 'two Cookies', request: get(JSON_PATH, 'Cookie: a=1\r\nCookie: b=2\r\n') },
  { name: 'a value of 8,000 bytes', request: get(JSON_PATH, `X-A: ${'a'.repeat(8_000)}\r\n`) },
  { name: 'a value of 20,000 bytes', request: get(JSON_PATH, `X-A: ${'a'.repeat(20_000)}\r\n`) },
  {
    name: '90 lines',
    request: get(JSON_PATH, Array.from({ length: 90 }, (_, n) => `X-${n}: ${n}\r\n`).join('')),
  },
  { name: '200 lines', request: get(JSON_PATH, 'X-A: 1\r\n'.repeat(200)) },
  {
    name: 'names of one hop',
    request: get(
      JSON_PATH,
      'Connection: x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n',
    ),
  },
  { name: 'Accept-Encoding', request: get(JSON_PATH, 'Accept-Encoding: gzip, br;q=0.5, *;q=0\r\n') },
  {
    name: 'conditions',
    request: get(
      COURSES,
      'If-None-Match: "a", W/"b"\r\nIf-Modified-Since: Tue, 15 Nov 1994 08:12:31 GMT\r\nIf-Match: *\r\n',
    ),
    reply: 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
  },
  {
    name: 'ranges',
    request: get(COURSES, 'Range: bytes=0-1,-1\r\nIf-Range: "a"\r\n'),
    reply: 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/10\r\nContent-Length: 2\r\n\r\nab',
  },
  { name: 'a line without a colon', request: get(JSON_PATH, 'X-A 1\r\n') },
  { name: 'a line with a space before the colon', request: get(JSON_PATH, 'X-A : 1\r\n') },
  { name: 'an empty name', request: get(JSON_PATH, ': 1\r\n') },
  { name: 'a folded line', request: get(JSON_PATH, 'X-A: 1\r\n 2\r\n') },
  { name: 'a NUL in a value', request: get(JSON_PATH, 'X-A: a\0b\r\n') },
  { name: 'a control character in a value', request: get(JSON_PATH, 'X-A: a\x01b\r\n') },
  { name: 'a carriage return in a value', request: get(JSON_PATH, 'X-A: a\rb\r\n') },
  { name: 'line feeds alone', request: get(JSON_PATH).replaceAll('\r\n', '\n') },
  { name: 'one line feed alone', request: get(JSON_PATH, 'X-A: 1\nX-B: 2\r\n') },

  // Host
  { name: 'no Host', request: get(JSON_PATH).replace(HOST, '') },
  { name: 'an empty Host', request: get(JSON_PATH).replace(HOST, 'Host:\r\n') },
  { name: 'two Hosts', request: get(JSON_PATH, 'Host: b\r\n') },
  { name: 'a Host with a port', request: get(JSON_PATH).replace(HOST, 'Host: school.example:8080\r\n') },
  { name: 'a Host that is an IPv6 address', request: get(JSON_PATH).replace(HOST, 'Host: [::1]:80\r\n') },
  { name: 'a Host with a path', request: get(JSON_PATH).replace(HOST, 'Host: a/b\r\n') },
  { name: 'a Host with a user', request: get(JSON_PATH).replace(HOST, 'Host: u@a\r\n') },

  // Framing that contradicts itself
  {
    name: 'Content-Length and Transfer-Encoding',
    request: post(JSON_PATH, `Content-Length: 5\r\n${chunks}`, '0\r\n\r\n'),
  },
  {
    name: 'two Content-Lengths that differ',
    request: post(JSON_PATH, 'Content-Length: 2\r\nContent-Length: 3\r\n', '{} '),
  },
  {
    name: 'two Content-Lengths alike',
    request: post(JSON_PATH, 'Content-Length: 2\r\nContent-Length: 2\r\n', '{}'),
  },
  { name: 'a list of Content-Lengths', request: post(JSON_PATH, 'Content-Length: 2, 2\r\n', '{}') },
  { name: 'a Content-Length with a sign', request: post(JSON_PATH, 'Content-Length: +2\r\n', '{}') },
  { name: 'a Content-Length with a leading zero', request: post(JSON_PATH, 'Content-Length: 02\r\n', '{}') },
  { name: 'an empty Content-Length', request: post(JSON_PATH, 'Content-Length:\r\n', '{}') },
  { name: 'an unknown coding', request: post(JSON_PATH, 'Transfer-Encoding: gzip\r\n', '{}') },
  {
    name: 'a coding under chunks',
    request: post(JSON_PATH, 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
  },
  {
    name: 'identity',
    request: post(JSON_PATH, 'Transfer-Encoding: identity\r\nContent-Length: 2\r\n', '{}'),
  },
  { name: 'chunked twice', request: post(JSON_PATH, `${chunks}${chunks}`, '0\r\n\r\n') },
  { name: 'a chunk size that is none', request: post(JSON_PATH, chunks, 'x\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk that is longer than it says', request: post(JSON_PATH, chunks, '2\r\nabc\r\n0\r\n\r\n') },
  { name: 'line feeds alone in chunks', request: post(JSON_PATH, chunks, '3\nabc\n0\n\n') },
  { name: 'a space behind a chunk size', request: post(JSON_PATH, chunks, '3 \r\nabc\r\n0\r\n\r\n') },
  {
    name: 'chunks in HTTP/1.0',
    request: post(JSON_PATH, chunks, '0\r\n\r\n').replace('HTTP/1.1', 'HTTP/1.0'),
  },

  // Versions and connections
  { name: 'HTTP/1.0', request: get(JSON_PATH).replace('HTTP/1.1', 'HTTP/1.0') },
  {
    name: 'HTTP/1.0 without a Host',
    request: get(JSON_PATH).replace('HTTP/1.1', 'HTTP/1.0').replace(HOST, ''),
  },
  {
    name: 'HTTP/1.0 with keep-alive',
    request: get(JSON_PATH, 'Connection: keep-alive\r\n').replace('HTTP/1.1', 'HTTP/1.0'),
  },
  {
    name: 'HTTP/1.0 and chunks from the service',
    request: get(JSON_PATH).replace('HTTP/1.1', 'HTTP/1.0'),
    reply: `${H11}${chunks}\r\n3\r\nabc\r\n0\r\n\r\n`,
  },
  { name: 'HTTP/1.2', request: get(JSON_PATH).replace('HTTP/1.1', 'HTTP/1.2') },
  { name: 'HTTP/2.0', request: get(JSON_PATH).replace('HTTP/1.1', 'HTTP/2.0') },
  { name: 'HTTP/0.9', request: `GET ${JSON_PATH}\r\n` },
  { name: 'a version in small letters', request: get(JSON_PATH).replace('HTTP/1.1', 'http/1.1') },
  { name: 'no version', request: get(JSON_PATH).replace(' HTTP/1.1', '') },
  { name: 'two spaces in the request line', request: get(JSON_PATH).replace('GET ', 'GET  ') },
  { name: 'close', request: get(JSON_PATH, 'Connection: close\r\n') },
  { name: 'Close in a list', request: get(JSON_PATH, 'Connection: X-A, Close\r\n') },
  {
    name: 'two requests at once',
    replies: 2,
    request: get(JSON_PATH) + post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
  },
  {
    name: 'a request behind chunks',
    replies: 2,
    request: post(JSON_PATH, chunks, '0\r\n\r\n') + get(JSON_PATH),
  },
  { name: 'a request behind "close"', request: get(JSON_PATH, 'Connection: close\r\n') + get(JSON_PATH) },
  { name: 'a request behind a malformed one', request: get(JSON_PATH, 'X-A 1\r\n') + get(JSON_PATH) },
  { name: 'an empty line first', request: `\r\n${get(JSON_PATH)}` },
  { name: 'three empty lines first', request: `\r\n\r\n\r\n${get(JSON_PATH)}` },
  { name: 'an empty line between', replies: 2, request: `${get(JSON_PATH)}\r\n${get(JSON_PATH)}` },
  {
    name: 'Expect with the body at once',
    request: post(JSON_PATH, 'Expect: 100-continue\r\nContent-Length: 2\r\n', '{}'),
  },
  {
    name: 'an expectation that nobody knows',
    request: post(JSON_PATH, 'Expect: x\r\nContent-Length: 2\r\n', '{}'),
  },
  { name: 'TLS on a plain port', request: '\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03' },
  { name: 'no HTTP at all', request: 'hello\r\n\r\n' },

  // Replies
  {
    name: 'a reply in chunks',
    request: get(JSON_PATH),
    reply: `${H11}${chunks}\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n`,
  },
  {
    name: 'a reply in chunks with trailers',
    request: get(COURSES),
    reply: `${H11}${chunks}\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n`,
  },
  {
    name: 'a reply that ends with its connection',
    request: get(JSON_PATH),
    reply: `${H11}\r\nabc`,
    replyCloses: true,
  },
  {
    name: 'a reply of HTTP/1.0',
    request: get(JSON_PATH),
    reply: 'HTTP/1.0 200 OK\r\n\r\nabc',
    replyCloses: true,
  },
  { name: 'an empty reply', request: get(JSON_PATH), reply: `${H11}Content-Length: 0\r\n\r\n` },
  { name: '204', request: get(JSON_PATH), reply: 'HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n' },
  {
    name: '304 with a length',
    request: get(COURSES),
    reply: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n',
  },
  {
    name: '103, then 200',
    request: get(JSON_PATH),
    reply: `HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n${ok()}`,
  },
  { name: '100, then 200', request: get(JSON_PATH), reply: `HTTP/1.1 100 Continue\r\n\r\n${ok()}` },
  {
    name: 'a redirect',
    request: get(JSON_PATH),
    reply: 'HTTP/1.1 302 Found\r\nLocation: http://other.example/x\r\nContent-Length: 0\r\n\r\n',
  },
  {
    name: 'cookies of a reply',
    request: get(JSON_PATH),
    reply: ok('{}', 'Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n'),
  },
  {
    name: 'headers of one hop in a reply',
    request: get(JSON_PATH),
    reply: ok('{}', 'Connection: x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n'),
  },
  {
    name: 'a status that nobody knows',
    request: get(JSON_PATH),
    reply: 'HTTP/1.1 299 Strange\r\nContent-Length: 2\r\n\r\n{}',
  },
  {
    name: 'a reply without a reason',
    request: get(JSON_PATH),
    reply: 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}',
  },
  { name: 'bytes past ASCII in a reply', request: get(JSON_PATH), reply: ok('{}', 'X-A: caf\xe9\r\n') },
  {
    name: 'a compressed reply',
    request: get(JSON_PATH, 'Accept-Encoding: gzip\r\n'),
    reply: ok(Bun.gzipSync('hello'.repeat(200)), 'Content-Encoding: gzip\r\n'),
  },
  {
    name: 'an error of the service',
    request: get(JSON_PATH),
    reply: 'HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno',
  },
  {
    name: '503 of the service',
    request: get(JSON_PATH),
    reply: 'HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno',
  },
  {
    name: 'a reply that is none',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
    reply: 'hello\r\n\r\n',
    replyCloses: true,
  },
  {
    name: 'a reply with two lengths',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
    reply: `${H11}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`,
  },
  {
    name: 'a reply with length and chunks',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
    reply: `${H11}Content-Length: 2\r\n${chunks}\r\n2\r\nab\r\n0\r\n\r\n`,
  },
  {
    name: 'a reply with a carriage return in a value',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
    reply: ok('{}', 'X-A: 1\rSet-Cookie: a=b\r\n'),
  },
  {
    name: 'a reply that closes before its head',
    request: post(JSON_PATH, 'Content-Length: 2\r\n', '{}'),
    reply: '',
    replyCloses: true,
  },
  {
    name: 'bytes behind a reply',
    request: get(JSON_PATH),
    reply: `${H11}Content-Length: 2\r\n\r\n{}${H11}Content-Length: 4\r\n\r\nevil`,
  },
  {
    name: 'a reply to HEAD with a body',
    request: `HEAD ${JSON_PATH} HTTP/1.1\r\n${HOST}${AUTH}\r\n`,
    reply: `${H11}Content-Length: 4\r\n\r\nevil`,
  },
];

/** Facts of one side only, and why ours are right. All other cases must be alike in all. */
export interface Difference {
  why: string;
  gateway: string[];
  nginx: string[];
}

const refused = (status: number): string[] => [`reply 1: ${status}`, 'connection: closed'];
/** The service got it and its reply came back; `body` with its framing. */
const passed = (line: string, body = 'none ""'): string[] => [
  `request 1: ${line} HTTP/1.1`,
  'request 1 has authorization: Bearer good',
  `request 1 body: ${body}`,
  'reply 1: 200 OK',
  'reply 1 body: length "{}"',
  'connection: open',
];

/** By the name of the case. */
export const DIFFERENCES: Record<string, Difference> = {
  'POST without a body': {
    why: 'RFC 9110, 8.6: a request whose method may have a body says that it has none.',
    gateway: ['request 1 body: length ""'],
    nginx: ['request 1 body: none ""'],
  },
  'an upload in chunks': {
    why: 'A stream stays one: what has come is passed on before its length is known. nginx waits for the rest of what is small.',
    gateway: ['request 1 body: chunked "abc"'],
    nginx: ['request 1 body: length "abc"'],
  },
  'an upload with trailers': {
    why: 'A stream stays one, and trailers that decide about nothing are passed on; nginx drops them.',
    gateway: ['request 1 body: chunked "abc"'],
    nginx: ['request 1 body: length "abc"'],
  },
  'DELETE without a body': {
    why: 'RFC 9110, 8.6: a method that may have a body says that it has none.',
    gateway: ['request 1 body: length ""'],
    nginx: ['request 1 body: none ""'],
  },
  'a body over the limit': {
    why: 'Who announces more than it may is answered and let go; nginx reads and throws away up to the announced length.',
    gateway: ['connection: closed'],
    nginx: ['connection: open'],
  },
  'GET with a body': {
    why: 'Readers disagree about it (RFC 9110, 9.3.1), which is how requests are smuggled; no route has one.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms', 'length "{}"'),
  },
  'GET with a length of 0': {
    why: 'A length of nothing says nothing.',
    gateway: ['request 1 body: none ""'],
    nginx: ['request 1 body: length ""'],
  },
  'a method in small letters': {
    why: 'Methods are case-sensitive (RFC 9110, 9.1): this one is well-formed and unknown.',
    gateway: ['reply 1: 405', 'connection: open'],
    nginx: refused(400),
  },
  'a method that nobody knows': {
    why: 'No route has it, so no service sees it.',
    gateway: ['reply 1: 405'],
    nginx: [
      'request 1: BREW /api/chat/rooms HTTP/1.1',
      'request 1 has authorization: Bearer good',
      'request 1 body: none ""',
      'reply 1: 200 OK',
      'reply 1 body: length "{}"',
    ],
  },
  TRACE: {
    why: 'Refused like any method that no route has; the request is over and its connection as good as before.',
    gateway: ['connection: open'],
    nginx: ['connection: closed'],
  },
  OPTIONS: {
    why: 'Only browsers ask so, before a call from another origin, and that is answered here; no route has it.',
    gateway: ['reply 1: 405'],
    nginx: [
      'request 1: OPTIONS /api/chat/rooms HTTP/1.1',
      'request 1 has authorization: Bearer good',
      'request 1 body: none ""',
      'reply 1: 200 OK',
      'reply 1 body: length "{}"',
    ],
  },
  'dot segments': {
    why: 'Normalised once (RFC 3986, 6.2.2): the service sees the path that the rule was found by. nginx passes on the spelling that it has not looked at.',
    gateway: ['request 1: GET /api/chat/rooms/y HTTP/1.1'],
    nginx: ['request 1: GET /api/chat/x/../rooms/./y HTTP/1.1'],
  },
  'dot segments, escaped': {
    why: 'Normalised once, as above.',
    gateway: ['request 1: GET /api/chat/rooms HTTP/1.1'],
    nginx: ['request 1: GET /api/chat/x/%2e%2e/rooms HTTP/1.1'],
  },
  'a double slash': {
    why: 'Some readers merge empty segments away, some do not: refused.',
    gateway: refused(400),
    nginx: passed('GET /api/chat//rooms'),
  },
  'a double slash first': {
    why: 'An empty segment, and to some readers a host: refused.',
    gateway: refused(400),
    nginx: passed('GET //api/chat/rooms'),
  },
  'an escaped slash': {
    why: 'To some readers a segment with a slash, to others two segments: refused.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/a%2Fb'),
  },
  'an escaped backslash': {
    why: 'A slash to some.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/a%5Cb'),
  },
  'a backslash': {
    why: 'Not in RFC 3986, and a slash to some.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/a\\b'),
  },
  'an escaped line break': {
    why: 'No path has control characters; whoever unescapes it into a header splits it.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/a%0d%0aX-A:b'),
  },
  'escapes of letters': {
    why: 'Normalised once, as above: an unreserved letter means the same with and without an escape.',
    gateway: ['request 1: GET /api/chat/rooms HTTP/1.1'],
    nginx: ['request 1: GET /api/chat/%72ooms HTTP/1.1'],
  },
  'escapes in small letters': {
    why: 'Normalised once, as above: RFC 3986, 6.2.2.1 wants them in capitals.',
    gateway: ['request 1: GET /api/chat/%C3%A9 HTTP/1.1'],
    nginx: ['request 1: GET /api/chat/%c3%a9 HTTP/1.1'],
  },
  'bytes past ASCII in the target': {
    why: 'Not in RFC 3986. nginx passes it on (this service takes it for no HTTP, hence the 504).',
    gateway: refused(400),
    nginx: ['reply 1: 504', 'connection: open'],
  },
  'characters that a URI has not': {
    why: 'Not in RFC 3986.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/{x}|y'),
  },
  'a fragment': {
    why: 'Stays with the client (RFC 9110, 4.2.5); some readers cut it off, some do not.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms#x'),
  },
  'absolute form': {
    why: 'RFC 9112, 3.2.2 would have it accepted; only clients of forward proxies send it, and then two hosts may disagree. Refused.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms'),
  },
  'absolute form of another host': {
    why: 'As above; here the two hosts do disagree.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms'),
  },
  'odd characters in a name': {
    why: 'A token (RFC 9110, 5.6.2), so it passes; nginx drops what it calls invalid names.',
    gateway: ["request 1 has x!#$%&'*+.^`|~9: 1"],
    nginx: [],
  },
  'a value of 20,000 bytes': {
    why: 'The status that says what is wrong (RFC 6585, 5).',
    gateway: ['reply 1: 431'],
    nginx: ['reply 1: 400'],
  },
  '200 lines': {
    why: 'At most 100 lines; nginx has no such limit.',
    gateway: refused(431),
    nginx: [
      'request 1: GET /api/chat/rooms HTTP/1.1',
      'request 1 has authorization: Bearer good',
      'request 1 has x-a: 1 (200 times)',
      'request 1 body: none ""',
      'reply 1: 200 OK',
      'reply 1 body: length "{}"',
      'connection: open',
    ],
  },
  'names of one hop': {
    why: 'What Connection names, and credentials for a proxy, are not for the next hop (RFC 9110, 7.6.1 and 11.7.2).',
    gateway: [],
    nginx: ['request 1 has x-a: 1', 'request 1 has proxy-authorization: x'],
  },
  'a control character in a value': {
    why: 'Not in RFC 9110, 5.5. nginx passes it on (this service takes it for no HTTP, hence the 504).',
    gateway: refused(400),
    nginx: ['reply 1: 504', 'connection: open'],
  },
  'line feeds alone': {
    why: 'RFC 9112, 2.2 allows to take it for a line break; readers that do and readers that do not disagree about where a header ends.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms'),
  },
  'one line feed alone': {
    why: 'As above: the line is one header to some, two to others.',
    gateway: refused(400),
    nginx: [
      'request 1: GET /api/chat/rooms HTTP/1.1',
      'request 1 has authorization: Bearer good',
      'request 1 has x-a: 1',
      'request 1 has x-b: 2',
      'request 1 body: none ""',
      'reply 1: 200 OK',
      'reply 1 body: length "{}"',
      'connection: open',
    ],
  },
  'a Host with a user': {
    why: 'Not in RFC 9110, 7.2.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms'),
  },
  'a Content-Length with a leading zero': {
    why: 'Allowed, but octal to some readers; no client sends it.',
    gateway: refused(400),
    nginx: passed('POST /api/chat/rooms', 'length "{}"'),
  },
  'an unknown coding': {
    why: 'RFC 9112, 6.3: chunks are not the last coding, so nobody knows where the body ends: 400. 501 is for a coding under chunks.',
    gateway: ['reply 1: 400'],
    nginx: ['reply 1: 501'],
  },
  identity: {
    why: 'As above; `identity` is no coding any more.',
    gateway: ['reply 1: 400'],
    nginx: ['reply 1: 501'],
  },
  'line feeds alone in chunks': {
    why: 'RFC 9112, 7.1 has none; readers disagree about where a chunk ends.',
    gateway: refused(400),
    nginx: passed('POST /api/chat/rooms', 'length "abc"'),
  },
  'a space behind a chunk size': {
    why: 'Not in RFC 9112, 7.1; readers disagree.',
    gateway: refused(400),
    nginx: passed('POST /api/chat/rooms', 'length "abc"'),
  },
  'HTTP/1.2': {
    why: 'Does not exist.',
    gateway: refused(505),
    nginx: passed('GET /api/chat/rooms'),
  },
  'HTTP/0.9': {
    why: 'Not spoken: this is a head without an end, and is waited for until the deadline. nginx answers without a head.',
    gateway: ['connection: open'],
    nginx: [
      'request 1: GET /api/chat/rooms HTTP/1.1',
      'request 1 body: none ""',
      'then: "Malformed: ended within a head"',
      'connection: closed',
    ],
  },
  'no version': {
    why: 'Not spoken; nginx takes it for HTTP/0.9.',
    gateway: ['reply 1: 400'],
    nginx: [
      'request 1: GET /api/chat/rooms HTTP/1.1',
      'request 1 body: none ""',
      'then: "Malformed: ended within a head"',
    ],
  },
  'two spaces in the request line': {
    why: 'RFC 9112, 3 has one; readers disagree about where the target begins.',
    gateway: refused(400),
    nginx: passed('GET /api/chat/rooms'),
  },
  'Expect with the body at once': {
    why: 'RFC 9110, 10.1.1: who has sent the body already needs no 100.',
    gateway: ['reply 1: 200 OK', 'reply 1 body: length "{}"'],
    nginx: ['reply 1: 100', 'reply 2: 200 OK', 'reply 2 body: length "{}"'],
  },
  'an expectation that nobody knows': {
    why: 'RFC 9110, 10.1.1 has the status 417 for it.',
    gateway: refused(417),
    nginx: passed('POST /api/chat/rooms', 'length "{}"'),
  },
  '103, then 200': {
    why: 'RFC 9110, 15.2: a 1xx is passed on and the reply follows. This nginx takes 103 for the reply.',
    gateway: ['reply 2: 200 OK', 'reply 2 body: length "{}"', 'connection: open'],
    nginx: ['connection: closed'],
  },
  '100, then 200': {
    why: 'A 100 is for us, who have said it to the client already where it asked. This nginx takes it for the reply.',
    gateway: ['reply 1: 200 OK', 'reply 1 body: length "{}"', 'connection: open'],
    nginx: ['reply 1: 100 Continue', 'reply 1 body: none ""', 'connection: closed'],
  },
  'headers of one hop in a reply': {
    why: 'What Connection names is not for the next hop (RFC 9110, 7.6.1).',
    gateway: [],
    nginx: ['reply 1 has x-a: 1', 'reply 1 has upgrade: h2c'],
  },
  'a reply that is none': {
    why: '502; nginx takes it for HTTP/0.9 and passes it on.',
    gateway: ['reply 1: 502'],
    nginx: ['then: "Malformed: status line \\"hello\\""'],
  },
  'a reply with two lengths': {
    why: '502: nobody knows where it ends. nginx takes the first it likes.',
    gateway: ['reply 1: 502'],
    nginx: ['reply 1: 200 OK', 'reply 1 body: length "abc"'],
  },
  'a reply with length and chunks': {
    why: '502: RFC 9112, 6.3 calls it an attack; nginx takes the chunks.',
    gateway: ['reply 1: 502'],
    nginx: ['reply 1: 200 OK', 'reply 1 body: chunked "ab"'],
  },
};
