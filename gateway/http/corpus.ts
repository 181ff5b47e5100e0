/**
 * Raw messages and what must become of them, for the tests of the parsers and for those that speak to a running gateway
 * over a socket. Texts are latin1. Each vector has one fault at most, so that it says which check is missing if it
 * passes.
 */

/** What a reader of a connection makes of the bytes. */
export type RequestOutcome =
  /** By which step: the head, the target in it, or the framing of the body (which a gateway answers with 400). */
  | { refused: 400 | 414 | 417 | 431 | 501 | 505; by: 'head' | 'target' | 'body' }
  /** All of it was read, as these requests. */
  | { requests: SeenRequest[] }
  /** The last request is not complete: it is waited for more. */
  | { waits: true };

export interface SeenRequest {
  method: string;
  /** Normalised, with its query. */
  target: string;
  body: string;
  /** Those allowed, name and value in turn. */
  trailers?: string[];
}

export interface RequestVector {
  name: string;
  raw: string;
  outcome: RequestOutcome;
  why: string;
}

const PATH = '/api/chat/rooms';

/** `lines` stand behind every Host: what a gateway wants to see besides, such as an Authorization, with its CRLF. */
export function requestVectors(lines = ''): RequestVector[] {
  const vectors: RequestVector[] = [];
  const H = `Host: school.example\r\n${lines}`;
  const get = (headers: string, target = PATH): string => `GET ${target} HTTP/1.1\r\n${headers}\r\n`;
  const post = (headers: string, body: string): string =>
    `POST ${PATH} HTTP/1.1\r\n${H}${headers}\r\n${body}`;
  const chunked = (body: string): string => post('Transfer-Encoding: chunked\r\n', body);
  /** What would be smuggled: it must never become a request. */
  const hidden = `GET ${PATH}/smuggled HTTP/1.1\r\n${H}\r\n`;

  const add = (outcome: RequestOutcome, [name, raw, why]: Entry): void =>
    void vectors.push({ name, raw, outcome, why });
  type Entry = [name: string, raw: string, why: string];
  const refuse = (
    status: 400 | 414 | 417 | 431 | 501 | 505,
    by: 'head' | 'target' | 'body',
    entries: Entry[],
  ): void => {
    for (const entry of entries) add({ refused: status, by }, entry);
  };
  const accept = (name: string, raw: string, requests: SeenRequest[], why: string): void =>
    add({ requests }, [name, raw, why]);
  const wait = (name: string, raw: string, why: string): void => add({ waits: true }, [name, raw, why]);

  const GOT = { method: 'GET', target: PATH, body: '' };
  const posted = (body: string, trailers?: string[]): SeenRequest => ({
    method: 'POST',
    target: PATH,
    body,
    ...(trailers ? { trailers } : {}),
  });

  // Content-Length and Transfer-Encoding against each other

  refuse(400, 'head', [
    [
      'CL.TE: Content-Length, then Transfer-Encoding',
      post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${hidden}`),
      'one reader takes the length, the next the chunks',
    ],
    [
      'TE.CL: Transfer-Encoding, then Content-Length',
      post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `5c\r\n${hidden}\r\n0\r\n\r\n`),
      'one reader takes the chunks, the next the length',
    ],
    [
      'Content-Length: 0 with Transfer-Encoding',
      post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'RFC 9112, 6.1: a sender must not send both, whatever the length',
    ],
    [
      'a Content-Length that is none, with Transfer-Encoding',
      post('Content-Length: blah\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'some readers drop the length unseen and pass the rest on',
    ],
    [
      'TE.TE: chunked and identity in two lines',
      post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', '0\r\n\r\n'),
      'one reader takes the first line, the next the last',
    ],
    [
      'TE.TE: chunked and nonsense in two lines',
      post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', '0\r\n\r\n'),
      'one reader takes the first line, the next the last',
    ],
    [
      'TE.TE: chunked twice',
      post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'RFC 9112, 6.1: chunked is applied once',
    ],
    ...(
      [
        ['xchunked', 'a substring search finds chunked'],
        ['chunkedx', 'a prefix search finds chunked'],
        ['chunke', 'a fuzzy search finds chunked'],
        ['identity', 'obsolete since RFC 7230; to some it means no body, to others all bytes'],
        ['chunked, identity', 'chunked must come last, or the end is unknown'],
        ['chunked, gzip', 'chunked must come last, or the end is unknown'],
        ['chunked, chunked', 'chunked is applied once'],
        ['chunked,', 'some readers see an empty last coding'],
        ['chunked;q=1', 'chunked has no parameters'],
        ['chunked ;x', 'chunked has no parameters'],
        ['"chunked"', 'a quoted string is no token'],
        ["'chunked'", 'a token, but not chunked'],
        ['chu nked', 'two words'],
        ['chunked\u00a0', 'some readers trim a non-breaking space'],
        ['\u0085chunked', 'some readers trim a next-line character'],
        ['', 'an empty list: to some that is no Transfer-Encoding, to others chunks'],
        [',', 'a list of nothing'],
        ['0', 'to some any value means chunks'],
      ] as const
    ).map(
      ([value, why]): Entry => [
        `Transfer-Encoding: ${JSON.stringify(value)}`,
        post(`Transfer-Encoding: ${value}\r\n`, '0\r\n\r\n'),
        why,
      ],
    ),
    ...(
      [
        ['\tchunked', 'a tab is whitespace of HTTP, and some leave it there'],
        [' chunked\t', 'a tab is whitespace of HTTP, and some leave it there'],
        ['\x0bchunked', 'a vertical tab is no whitespace of HTTP'],
        ['chunked\x0b', 'a vertical tab is no whitespace of HTTP'],
        ['\x0cchunked', 'a form feed is no whitespace of HTTP'],
        ['\x00chunked', 'a C string ends at NUL'],
        ['chunked\x00', 'a C string ends at NUL'],
        ['\rchunked', 'to some a carriage return ends the line'],
        ['chunked\r', 'to some a carriage return ends the line'],
        ['\nchunked', 'to some a line feed ends the line'],
        ['\r\n chunked', 'line folding'],
        ['\r\n\tchunked', 'line folding'],
        ['\x7fchunked', 'DEL is a control character'],
      ] as const
    ).map(
      ([value, why]): Entry => [
        `Transfer-Encoding: ${JSON.stringify(value)}`,
        post(`Transfer-Encoding:${value}\r\n`, '0\r\n\r\n'),
        why,
      ],
    ),
    [
      'Transfer-Encoding with a space before the colon',
      post('Transfer-Encoding : chunked\r\n', '0\r\n\r\n'),
      'RFC 9112, 5.1: a server must refuse it; some read the name with, some without the space',
    ],
    [
      'Transfer-Encoding with a tab before the colon',
      post('Transfer-Encoding\t: chunked\r\n', '0\r\n\r\n'),
      'RFC 9112, 5.1',
    ],
    [
      'Transfer-Encoding behind a space',
      post('X-A: b\r\n Transfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'to some a header, to others the rest of the one above',
    ],
    [
      'Transfer-Encoding behind a carriage return in a value',
      post('X-A: b\rTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'to some a carriage return ends the line',
    ],
    [
      'Transfer-Encoding behind a line feed in a value',
      post('X-A: b\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
      'to some a line feed ends the line',
    ],
    [
      'Transfer-Encoding in HTTP/1.0',
      `POST ${PATH} HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      'RFC 9112, 6.1: faulty framing, because HTTP/1.0 does not know it',
    ],
    ['chunks on GET', `${get(`${H}Transfer-Encoding: chunked\r\n`)}0\r\n\r\n`, 'not all expect a body there'],
  ]);
  refuse(501, 'head', [
    [
      'gzip, chunked',
      post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n'),
      'well-formed, but not spoken here',
    ],
    [
      'identity, chunked',
      post('Transfer-Encoding: identity, chunked\r\n', '0\r\n\r\n'),
      'chunked is last, but identity no longer exists',
    ],
  ]);
  accept(
    'Transfer-Encoding: CHUNKED',
    post('Transfer-Encoding: CHUNKED\r\n', '2\r\n{}\r\n0\r\n\r\n'),
    [posted('{}')],
    'codings are case-insensitive (RFC 9112, 7)',
  );
  accept(
    'Transfer-Encoding between spaces',
    post('tRANSFER-eNCODING:   chunked  \r\n', '2\r\n{}\r\n0\r\n\r\n'),
    [posted('{}')],
    'spaces around a value are not part of it (RFC 9112, 5)',
  );
  accept(
    'Transfer_Encoding',
    post('Transfer_Encoding: chunked\r\nContent-Length: 2\r\n', '{}'),
    [posted('{}')],
    'another header of no meaning; names with underscores are not forwarded',
  );

  // Content-Length

  refuse(
    400,
    'head',
    (
      [
        ['+5', 'a sign'],
        ['-1', 'a sign; to some it becomes a huge unsigned number'],
        ['-0', 'a sign'],
        ['0x5', 'hexadecimal'],
        ['0b101', 'binary'],
        ['0o5', 'octal'],
        ['05', 'leading zeros are octal to some, and no honest client sends them'],
        ['00', 'leading zeros'],
        ['5,5', 'a list of equals: allowed to be taken for one, and not worth the doubt'],
        ['5, 5', 'a list of equals'],
        ['5, 6', 'a list of lengths that differ'],
        ['5,', 'a list'],
        ['1e3', 'a float'],
        ['5.0', 'a float'],
        ['5 5', 'digits with a space between: 5 or 55'],
        ['1_0', 'a digit separator of some languages'],
        ['5;', 'rubbish behind'],
        ['5\u00b2', 'a superscript two is a digit to some'],
        ['\u00a05', 'a non-breaking space is no whitespace of HTTP'],
        ['', 'empty: to some it is nothing, to others 0'],
        ['"5"', 'quoted'],
        ['NaN', 'a word'],
        ['9007199254740992', '2^53: no longer exact'],
        ['18446744073709551621', '2^64 + 5: to some it wraps around to 5'],
        ['99999999999999999999999999', 'past all numbers'],
      ] as const
    ).map(
      ([value, why]): Entry => [
        `Content-Length: ${JSON.stringify(value)}`,
        post(`Content-Length: ${value}\r\n`, 'hello'),
        why,
      ],
    ),
  );
  refuse(400, 'head', [
    ['Content-Length: "\\t5"', post('Content-Length:\t5\r\n', 'hello'), 'a tab is trimmed by some only'],
    ['Content-Length: "5\\t"', post('Content-Length: 5\t\r\n', 'hello'), 'a tab is trimmed by some only'],
    [
      'Content-Length: "\\u000b5"',
      post('Content-Length:\x0b5\r\n', 'hello'),
      'a vertical tab is no whitespace of HTTP',
    ],
    ['Content-Length: "5\\u0000"', post('Content-Length: 5\0\r\n', 'hello'), 'a C string ends at NUL'],
    [
      'two Content-Lengths that differ',
      post('Content-Length: 2\r\nContent-Length: 40\r\n', `{}${hidden}`),
      'which?',
    ],
    [
      'two Content-Lengths alike',
      post('Content-Length: 2\r\nContent-Length: 2\r\n', '{}'),
      'may be taken for one (RFC 9112, 6.3), but no honest client sends it',
    ],
    [
      'two Content-Lengths in other letters',
      post('Content-Length: 2\r\ncONTENT-lENGTH: 40\r\n', '{}'),
      'names are case-insensitive',
    ],
    ['Content-Length with a space before the colon', post('Content-Length : 2\r\n', '{}'), 'RFC 9112, 5.1'],
    ['a folded Content-Length', post('Content-Length:\r\n 2\r\n', '{}'), 'line folding'],
    [
      'a body on GET',
      `${get(`${H}Content-Length: ${hidden.length}\r\n`)}${hidden}`,
      'not all expect a body there: to them it is a second request',
    ],
    ['a body on HEAD', `HEAD ${PATH} HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`, 'as on GET'],
    ['a body on OPTIONS', `OPTIONS ${PATH} HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`, 'as on GET'],
  ]);
  accept('Content-Length: 0 on GET', get(`${H}Content-Length: 0\r\n`), [GOT], 'says that there is no body');
  accept(
    'Content-Length between spaces',
    post('content-length:  2 \r\n', '{}'),
    [posted('{}')],
    'spaces around a value are not part of it',
  );
  accept(
    'what follows a body is the next request',
    post('Content-Length: 2\r\n', `{}${get(H)}`),
    [posted('{}'), GOT],
    'pipelining',
  );
  accept('no length', post('', ''), [posted('')], 'RFC 9112, 6.3: a request without either has no body');
  wait('a body that is shorter than it says', post('Content-Length: 5\r\n', 'hell'), 'the rest may come');

  // Chunks

  const chunkFaults: [name: string, body: string, why: string][] = [
    ['no size', '\r\n{}\r\n0\r\n\r\n', 'a size has a digit at least'],
    ['a size that is no number', 'zz\r\na\r\n0\r\n\r\n', 'hexadecimal digits only'],
    ['0x', '0x2\r\n{}\r\n0\r\n\r\n', 'to some the size is 0, to others 2'],
    ['a plus', '+2\r\n{}\r\n0\r\n\r\n', 'a sign'],
    ['a minus', '-2\r\n{}\r\n0\r\n\r\n', 'a sign; to some a huge unsigned number'],
    ['an underscore', '0_2\r\n{}\r\n0\r\n\r\n', 'a digit separator of some languages'],
    ['a space before the size', ' 2\r\n{}\r\n0\r\n\r\n', 'no whitespace there'],
    ['a tab before the size', '\t2\r\n{}\r\n0\r\n\r\n', 'no whitespace there'],
    ['a space behind the size', '2 \r\n{}\r\n0\r\n\r\n', 'no whitespace there'],
    [
      'a space between size and extension',
      '2 ;a\r\n{}\r\n0\r\n\r\n',
      'allowed by RFC 9112, 7.1.1, and never sent',
    ],
    ['a vertical tab behind the size', '2\x0b\r\n{}\r\n0\r\n\r\n', 'a control character'],
    ['a NUL behind the size', '2\0\r\n{}\r\n0\r\n\r\n', 'a C string ends at NUL'],
    ['a comma behind the size', '2,2\r\n{}\r\n0\r\n\r\n', 'hexadecimal digits only'],
    ['a dot in the size', '2.0\r\n{}\r\n0\r\n\r\n', 'hexadecimal digits only'],
    ['an exponent with a sign', '1e+1\r\n{}\r\n0\r\n\r\n', 'hexadecimal digits only'],
    ['a size of 2^53', '20000000000000\r\n{}\r\n0\r\n\r\n', 'no longer exact'],
    ['a size of 2^64 - 1', 'ffffffffffffffff\r\n{}\r\n0\r\n\r\n', '-1 to some'],
    ['a size of 2^64 + 2', '10000000000000002\r\n{}\r\n0\r\n\r\n', 'to some it wraps around to 2'],
    [
      'a size of 17 digits, most of them zeros',
      '00000000000000002\r\n{}\r\n0\r\n\r\n',
      'to some that overflows',
    ],
    ['a size of 2^68 + 2', '100000000000000002\r\n{}\r\n0\r\n\r\n', 'to some it wraps around to 2'],
    ['line feeds alone', '2\n{}\n0\n\n', 'one line break, CRLF'],
    ['a line feed alone behind the size', '2\n{}\r\n0\r\n\r\n', 'one line break, CRLF'],
    ['a carriage return alone behind the size', '2\r{}\r\n0\r\n\r\n', 'one line break, CRLF'],
    ['two carriage returns behind the size', '2\r\r\n{}\r\n0\r\n\r\n', 'one line break, CRLF'],
    [
      'another byte in the line break behind the size',
      '2\rX{}\r\n0\r\n\r\n',
      'to some two bytes there are skipped unseen',
    ],
    [
      'another byte for the carriage return behind the data',
      '2\r\n{}X\n0\r\n\r\n',
      'to some it is skipped unseen',
    ],
    ['another byte for the line feed behind the data', '2\r\n{}\rX0\r\n\r\n', 'to some it is skipped unseen'],
    ['an extension without a size', ';a\r\n\r\n', 'to some the size is 0'],
    ['a line feed alone behind the data', '2\r\n{}\n0\r\n\r\n', 'one line break, CRLF'],
    ['a carriage return alone behind the data', '2\r\n{}\r0\r\n\r\n', 'one line break, CRLF'],
    ['nothing behind the data', '2\r\n{}0\r\n\r\n', 'to some the two bytes there are skipped unseen'],
    [
      'two other bytes behind the data',
      '2\r\n{}XX0\r\n\r\n',
      'to some the two bytes there are skipped unseen',
    ],
    ['data that are longer than their size', '2\r\n{"a":1}\r\n0\r\n\r\n', 'the size is wrong'],
    ['data that are shorter than their size', '8\r\n{}\r\n0\r\n\r\n\r\n', 'the size is wrong'],
    ['an empty line between chunks', '2\r\n{}\r\n\r\n0\r\n\r\n', 'a size has a digit at least'],
    ['a line feed in an extension', '2;a\n{}\r\n0\r\n\r\n', 'to some a line feed ends the line (TERM.EXT)'],
    [
      'a carriage return in an extension',
      '2;a\rb\r\n{}\r\n0\r\n\r\n',
      'to some a carriage return ends the line',
    ],
    ['a NUL in an extension', '2;a\0\r\n{}\r\n0\r\n\r\n', 'a C string ends at NUL'],
    [
      'a line feed in a quoted extension',
      '2;a="\n"\r\n{}\r\n0\r\n\r\n',
      'a quoted string has no line breaks',
    ],
    ['a CRLF in a quoted extension', '2;a="\r\n{}"\r\n0\r\n\r\n', 'to some the quotes hold the line break'],
    ['a line feed alone behind an extension', '2;a\n{}\r\n0\r\n\r\n', 'one line break, CRLF'],
    [
      'extensions of 5,000 bytes',
      `2;${'a'.repeat(5_000)}\r\n{}\r\n0\r\n\r\n`,
      'they cost us and not the sender',
    ],
    [
      'extensions of 5,000 bytes in all',
      `${'1;aaaaaaaaa\r\na\r\n'.repeat(500)}0\r\n\r\n`,
      'the same, in small coins',
    ],
    ['a line feed alone behind the last size', '2\r\n{}\r\n0\n\r\n', 'one line break, CRLF'],
    ['a line feed in place of the blank line', '2\r\n{}\r\n0\r\n\n', 'one line break, CRLF'],
    ['a line feed alone behind a trailer', '2\r\n{}\r\n0\r\nX-A: b\n\r\n', 'one line break, CRLF'],
    ['a carriage return in a trailer', '2\r\n{}\r\n0\r\nX-A: b\rc\r\n\r\n', 'to some it ends the line'],
    [
      'a carriage return in a trailer that is not complete',
      '0\r\nX-A: b\rc',
      'nothing that follows can mend it',
    ],
    ['a line feed in a trailer that is not complete', '0\r\nX-A: b\nc', 'nothing that follows can mend it'],
    ['a folded trailer', '2\r\n{}\r\n0\r\nX-A: b\r\n c\r\n\r\n', 'line folding'],
    ['a trailer without a colon', '2\r\n{}\r\n0\r\nX-A\r\n\r\n', 'no header line'],
    ['a trailer with a space before the colon', '2\r\n{}\r\n0\r\nX-A : b\r\n\r\n', 'RFC 9112, 5.1'],
    ['a NUL in a trailer', '2\r\n{}\r\n0\r\nX-A: \0\r\n\r\n', 'a control character'],
    ['a request in place of the trailers', `2\r\n{}\r\n0\r\n${hidden}`, 'its first line is no header line'],
    ['a request behind two bytes in place of the trailers', `2\r\n{}\r\n0\r\nXX${hidden}`, 'no header line'],
    ['trailers of 9,000 bytes', `0\r\nX-A: ${'a'.repeat(9_000)}\r\n\r\n`, 'bounded'],
    ['more than 100 trailers', `0\r\n${'A: b\r\n'.repeat(101)}\r\n`, 'bounded'],
  ];
  for (const [name, body, why] of chunkFaults)
    add({ refused: 400, by: 'body' }, [`chunks: ${name}`, chunked(body), why]);

  accept('chunks: none', chunked('0\r\n\r\n'), [posted('')], 'an empty body');
  accept(
    'chunks: sizes in small and capital letters',
    chunked(`a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n`),
    [posted('01234567890123456789')],
    'hexadecimal',
  );
  accept(
    'chunks: leading zeros',
    chunked('0002\r\n{}\r\n000\r\n\r\n'),
    [posted('{}')],
    'allowed by the grammar',
  );
  accept(
    'chunks: extensions',
    chunked('2;x=y;z="a b, c"\r\n{}\r\n0;last\r\n\r\n'),
    [posted('{}')],
    'RFC 9112, 7.1.1: must be ignored',
  );
  accept(
    'chunks: trailers',
    chunked('2\r\n{}\r\n0\r\nX-Checksum: 1\r\nServer-Timing: a\r\n\r\n'),
    [posted('{}', ['x-checksum', '1', 'server-timing', 'a'])],
    'kept apart from the headers',
  );
  accept(
    'chunks: trailers that smuggle',
    chunked(
      '2\r\n{}\r\n0\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nAuthorization: x\r\nCookie: a\r\nX-Forwarded-For: 1.2.3.4\r\nIf-Match: x\r\nContent_Length: 1\r\nX-Ok: 1\r\n\r\n',
    ),
    [posted('{}', ['x-ok', '1'])],
    'RFC 9110, 6.5.1: framing, routing and credentials are dropped',
  );
  accept(
    'chunks: the next request behind',
    chunked(`2\r\n{}\r\n0\r\n\r\n${get(H)}`),
    [posted('{}'), GOT],
    'pipelining',
  );
  accept(
    'chunks: CRLF behind the last one, then the next request',
    chunked(`0\r\n\r\n\r\n${get(H)}`),
    [posted(''), GOT],
    'RFC 9112, 2.2: an empty line before a request line is ignored',
  );
  accept(
    'chunks: data that look like chunks',
    chunked('5\r\n0\r\n\r\n\r\n0\r\n\r\n'),
    [posted('0\r\n\r\n')],
    'sizes rule',
  );
  wait('chunks: the last one is missing', chunked('2\r\n{}\r\n'), 'more may come');
  wait('chunks: the blank line is missing', chunked('2\r\n{}\r\n0\r\n'), 'trailers may come');
  wait('chunks: half a blank line', chunked('2\r\n{}\r\n0\r\n\r'), 'the other half may come');

  // Lines, names and values

  refuse(400, 'head', [
    ['line feeds alone', `GET ${PATH} HTTP/1.1\nHost: a\n\n`, 'one line break, CRLF'],
    ['a line feed alone behind the request line', `GET ${PATH} HTTP/1.1\n${H}\r\n`, 'one line break, CRLF'],
    [
      'a line feed alone behind a header',
      `GET ${PATH} HTTP/1.1\r\nHost: a\n\r\n\r\n`,
      'one line break, CRLF',
    ],
    [
      'a carriage return alone behind the request line',
      `GET ${PATH} HTTP/1.1\r${H}\r\n`,
      'one line break, CRLF',
    ],
    ['a carriage return alone in a value', get('Host: a\rX-A: b\r\n'), 'to some it ends the line'],
    ['two carriage returns before a line feed', get('Host: a\r\r\n'), 'one line break, CRLF'],
    [
      'a folded header',
      get(`${H}X-A: 1\r\n  folded\r\n`),
      'RFC 9112, 5.2: refused or unfolded; to some a new header',
    ],
    ['a header folded with a tab', get(`${H}X-A: 1\r\n\tfolded\r\n`), 'line folding'],
    ['a header behind a space, first of all', get(` X-A: 1\r\n${H}`), 'RFC 9112, 2.2: refused or skipped'],
    ['a line of spaces', get(`${H}   \r\n`), 'a folded line of nothing'],
    ['a space before the colon', get(`${H}X-A : 1\r\n`), 'RFC 9112, 5.1'],
    ['a tab before the colon', get(`${H}X-A\t: 1\r\n`), 'RFC 9112, 5.1'],
    ['a space in a name', get(`${H}X A: 1\r\n`), 'no token'],
    ['no name', get(`${H}: 1\r\n`), 'a token has a character at least'],
    ['no colon', get(`${H}X-A\r\n`), 'no header line'],
    ['a parenthesis in a name', get(`${H}X(A): 1\r\n`), 'no token'],
    ['a slash in a name', get(`${H}X/A: 1\r\n`), 'no token'],
    ['quotes around a name', get(`${H}"X-A": 1\r\n`), 'no token'],
    ['a byte past ASCII in a name', get(`${H}X-\xe4: 1\r\n`), 'no token'],
    ['a NUL in a name', get(`${H}X-\0A: 1\r\n`), 'no token'],
    ['a NUL in a value', get(`${H}X-A: a\0b\r\n`), 'a C string ends at NUL'],
    ['a backspace in a value', get(`${H}X-A: a\bb\r\n`), 'a control character'],
    [
      'an escape in a value',
      get(`${H}X-A: \x1b[2J\r\n`),
      'a control character, and a terminal reads our logs',
    ],
    ['DEL in a value', get(`${H}X-A: a\x7fb\r\n`), 'a control character'],
    [
      'a NUL deep in a long value',
      get(`${H}X-A: ${'a'.repeat(500)}\0${'a'.repeat(500)}\r\n`),
      'as in a short one',
    ],
    ['a line feed deep in a long value', get(`${H}X-A: ${'a'.repeat(500)}\nX-B: c\r\n`), 'as in a short one'],
    [
      'a carriage return deep in a long value',
      get(`${H}X-A: ${'a'.repeat(500)}\rX-B: c\r\n`),
      'as in a short one',
    ],
    [
      'more options in Connection than anybody has',
      get(`${H}Connection: ${'a,'.repeat(200)}\r\n`),
      'each is searched for',
    ],
  ]);
  refuse(431, 'head', [
    ['101 header lines', get(`${H}${'A: b\r\n'.repeat(101)}`), 'bounded'],
    ['a head of 17 KiB', get(`${H}X-A: ${'a'.repeat(17_408)}\r\n`), 'bounded'],
  ]);
  accept(
    'an empty value, tabs, bytes past ASCII',
    get(`${H}X-A:\r\nX-B: a\tb\r\nX-C: caf\xe9\r\nX-D: \t \r\n`),
    [GOT],
    'allowed by RFC 9110, 5.5',
  );
  accept('every character of a token', get(`${H}!#$%&'*+-.^_\`|~09azAZ: 1\r\n`), [GOT], 'RFC 9110, 5.6.2');
  accept('two Cookies', get(`${H}Cookie: a=b\r\nCookie: c=d\r\n`), [GOT], 'nothing is routed by them');
  wait('a head without its blank line', `GET ${PATH} HTTP/1.1\r\n${H}`, 'more may come');

  // Headers that may come once, and Host

  for (const [name, value] of [
    ['Host', 'school.example'],
    ['Authorization', 'Bearer a'],
    ['Content-Type', 'application/json'],
    ['Expect', '100-continue'],
    ['Origin', 'http://school.example'],
    ['Upgrade', 'websocket'],
  ] as const) {
    refuse(400, 'head', [
      [
        `two ${name}s alike`,
        `GET ${PATH} HTTP/1.1\r\n${name === 'Host' ? '' : 'Host: school.example\r\n'}${`${name}: ${value}\r\n`.repeat(2)}\r\n`,
        'one reader takes the first, the next the last',
      ],
    ]);
  }
  const hostFault = (name: string, host: string, why: string): void =>
    refuse(400, 'head', [[name, `GET ${PATH} HTTP/1.1\r\n${host}${lines}\r\n`, why]]);
  hostFault(
    'two Hosts that differ',
    'Host: a\r\nHost: b\r\n',
    'one reader takes the first, the next the last',
  );
  hostFault('no Host', '', 'RFC 9112, 3.2: refused with 400');
  hostFault('an empty Host', 'Host:\r\n', 'no host');
  hostFault('Host with a space before the colon', 'Host : a\r\n', 'RFC 9112, 5.1');
  for (const [host, why] of [
    ['a/evil?x=', 'a path'],
    ['user@a', 'userinfo: to some the host is what stands behind'],
    ['user:secret@a', 'userinfo'],
    ['a#b', 'a fragment'],
    ['a?b', 'a query'],
    ['a, b', 'a list'],
    ['a,b', 'a list'],
    ['a b', 'two words'],
    ['http://a', 'a URL'],
    ['a:', 'a port has a digit at least'],
    ['a:80:80', 'two ports'],
    ['a:80a', 'a port is a number'],
    ['a:+80', 'a port is a number'],
    ['a:123456', 'a port has five digits at most'],
    [':80', 'no host'],
    ['.a', 'an empty label'],
    ['a..', 'an empty label'],
    ['-a', 'begins with a hyphen'],
    ['a-', 'ends with a hyphen'],
    ['a%2eb', 'an escape'],
    ['a\\b', 'a backslash'],
    ['\u00e4.example', 'past ASCII'],
    ["a'b", 'a quote'],
    ['[::1', 'no closing bracket'],
    ['::1', 'no brackets'],
    ['[::1]x', 'rubbish behind'],
    ['[::1]x80', 'rubbish in place of the colon'],
    ['[::g]', 'no address'],
    ['[]', 'no address'],
    ['[::1%25eth0]', 'a zone is of no use to others'],
  ] as const)
    hostFault(`Host: ${host}`, `Host: ${host}\r\n`, why);
  for (const host of [
    'school.example:8080',
    'a',
    'a.',
    'A-b.C_d.example',
    '127.0.0.1:1',
    '[::1]',
    '[2001:db8::1]:443',
  ])
    accept(`Host: ${host}`, `GET ${PATH} HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`, [GOT], 'a host');
  accept(
    'HTTP/1.0 without a Host',
    `GET ${PATH} HTTP/1.0\r\n${lines}\r\n`,
    [GOT],
    'HTTP/1.0 does not know it',
  );

  // The request line

  refuse(400, 'head', [
    ['two spaces before the target', `GET  ${PATH} HTTP/1.1\r\n${H}\r\n`, 'one space'],
    ['two spaces behind the target', `GET ${PATH}  HTTP/1.1\r\n${H}\r\n`, 'one space'],
    ['a tab before the target', `GET\t${PATH} HTTP/1.1\r\n${H}\r\n`, 'one space'],
    ['a tab behind the target', `GET ${PATH}\tHTTP/1.1\r\n${H}\r\n`, 'one space'],
    ['a space before the method', ` GET ${PATH} HTTP/1.1\r\n${H}\r\n`, 'one space'],
    ['a space behind the version', `GET ${PATH} HTTP/1.1 \r\n${H}\r\n`, 'one space'],
    ['a space in the target', `GET ${PATH} x HTTP/1.1\r\n${H}\r\n`, 'to some the last word is the version'],
    ['no target', `GET HTTP/1.1\r\n${H}\r\n`, 'three words'],
    ['no version (HTTP/0.9)', `GET ${PATH}\r\n${H}\r\n`, 'three words'],
    ['nothing but a method', `GET\r\n${H}\r\n`, 'three words'],
    ['a method of no token', `G=T ${PATH} HTTP/1.1\r\n${H}\r\n`, 'a token'],
    ['a method with a NUL', `G\0T ${PATH} HTTP/1.1\r\n${H}\r\n`, 'a token'],
    ['a method of 33 letters', `${'A'.repeat(33)} ${PATH} HTTP/1.1\r\n${H}\r\n`, 'bounded'],
    ['http in small letters', `GET ${PATH} http/1.1\r\n${H}\r\n`, 'RFC 9112, 2.3: case-sensitive'],
    ['another protocol', `GET ${PATH} RTSP/1.1\r\n${H}\r\n`, 'HTTP only'],
    ['HTTP/1.10', `GET ${PATH} HTTP/1.10\r\n${H}\r\n`, 'one digit'],
    ['HTTP/01.1', `GET ${PATH} HTTP/01.1\r\n${H}\r\n`, 'one digit'],
    ['HTTP/1', `GET ${PATH} HTTP/1\r\n${H}\r\n`, 'two digits'],
    ['HTTP/1,1', `GET ${PATH} HTTP/1,1\r\n${H}\r\n`, 'a dot'],
    ['a carriage return in the target', get(H, `${PATH}\r/x`), 'a control character'],
    ['a NUL in the target', get(H, `${PATH}\0`), 'a control character'],
    ['a byte past ASCII in the target', get(H, '/api/chat/caf\xe9'), 'RFC 3986: ASCII'],
    ['three empty lines of nothing but line feeds', `\n\n\n${get(H)}`, 'one line break, CRLF'],
    ['a TLS handshake', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 'not HTTP'],
    [
      'the line of a proxy protocol',
      `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${get(H)}`,
      'not configured here',
    ],
  ]);
  refuse(505, 'head', [
    ['HTTP/2.0', `GET ${PATH} HTTP/2.0\r\n${H}\r\n`, 'not over this connection'],
    ['HTTP/1.2', `GET ${PATH} HTTP/1.2\r\n${H}\r\n`, 'does not exist'],
    ['HTTP/0.9', `GET ${PATH} HTTP/0.9\r\n${H}\r\n`, 'has no version to name'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'not over this connection'],
  ]);
  refuse(417, 'head', [
    [
      'an expectation that nobody knows',
      post('Expect: 200-ok\r\nContent-Length: 2\r\n', '{}'),
      'RFC 9110, 10.1.1',
    ],
    [
      'an expectation with another one',
      post('Expect: 100-continue, x\r\nContent-Length: 2\r\n', '{}'),
      'RFC 9110, 10.1.1',
    ],
  ]);
  accept(
    'Expect: 100-Continue',
    post('Expect: 100-Continue\r\nContent-Length: 2\r\n', '{}'),
    [posted('{}')],
    'case-insensitive; the body may come without being asked for',
  );
  accept(
    'an expectation in HTTP/1.0',
    `GET ${PATH} HTTP/1.0\r\n${H}Expect: x\r\n\r\n`,
    [GOT],
    'RFC 9110, 10.1.1: ignored',
  );
  accept('an empty line first', `\r\n${get(H)}`, [GOT], 'RFC 9112, 2.2: ignored');

  // Targets

  const targetFaults: [target: string, why: string][] = [
    ['http://school.example/api/chat/rooms', 'absolute form: which host counts?'],
    ['//evil.example/api', 'a host to whoever resolves it as a reference'],
    ['school.example:80', 'authority form is for CONNECT'],
    ['*', 'asterisk form is for OPTIONS'],
    ['api/chat/rooms', 'no slash'],
    ['?x', 'no slash'],
    ['/api/chat/rooms#x', 'a fragment stays with the client'],
    ['/api/chat/rooms?a#x', 'a fragment stays with the client'],
    ['/api//chat/rooms', 'an empty segment: some merge it away'],
    ['/api/chat/rooms//', 'an empty segment: some merge it away'],
    ['/..', 'above the root'],
    ['/api/../..', 'above the root'],
    ['/%2e%2e/x', 'above the root, escaped'],
    ['/api/chat/..%2f..%2fmetrics', 'an escaped slash: to some a segment, to others two'],
    ['/api/chat/..%2F', 'an escaped slash'],
    ['/api/chat/..%5c..%5cmetrics', 'an escaped backslash: a slash to some'],
    ['/api/chat/..\\..\\metrics', 'a backslash: a slash to some'],
    ['/api/chat/a%00b', 'a C string ends at NUL'],
    ['/api/chat/a%0d%0aX-A:b', 'a line break to whoever unescapes it into a header'],
    ['/api/chat/a%7f', 'a control character'],
    ['/api/chat/%zz', 'a broken escape'],
    ['/api/chat/%', 'a broken escape'],
    ['/api/chat/%2', 'a broken escape'],
    ['/api/chat/%u0041', 'an escape of one vendor'],
    ['/api/chat/<x>', 'not in RFC 3986'],
    ['/api/chat/"x"', 'not in RFC 3986'],
    ['/api/chat/{x}', 'not in RFC 3986'],
    ['/api/chat/x|y', 'not in RFC 3986'],
    ['/api/chat/x^y', 'not in RFC 3986'],
    ['/api/chat/x`y', 'not in RFC 3986'],
    ['/api/chat/rooms?q=<x>', 'not in RFC 3986'],
    ['/api/chat/rooms?q="x"', 'not in RFC 3986'],
    ['/api/chat/rooms?q=\\', 'not in RFC 3986'],
    ['/api/chat/rooms?q={x}', 'not in RFC 3986'],
  ];
  for (const [target, why] of targetFaults)
    add({ refused: 400, by: 'target' }, [`target ${target}`, get(H, target), why]);
  add({ refused: 414, by: 'target' }, [
    'a target of 9,000 bytes',
    get(H, `/${'a'.repeat(9_000)}`),
    'bounded',
  ]);
  const targetForms: [target: string, seen: string, why: string][] = [
    ['/', '/', 'the root'],
    ['/api/chat/rooms?', '/api/chat/rooms?', 'an empty query'],
    ['/api/chat/rooms?a=%zz&b=//../?', '/api/chat/rooms?a=%zz&b=//../?', 'a query stays as it came'],
    ['/api/chat/rooms/', '/api/chat/rooms/', 'a slash at the end stays'],
    ['/api/chat/./rooms', '/api/chat/rooms', 'a dot segment'],
    ['/api/x/../chat/rooms', '/api/chat/rooms', 'dot segments'],
    ['/api/x/%2e%2E/chat/%2e/rooms', '/api/chat/rooms', 'dot segments, escaped'],
    ['/api/x/.%2e/chat/rooms', '/api/chat/rooms', 'dot segments, half escaped'],
    ['/api/chat/rooms/..', '/api/chat/', 'a dot segment at the end leaves the slash'],
    ['/api/chat/rooms/.', '/api/chat/rooms/', 'a dot segment at the end leaves the slash'],
    ['/api/../metrics', '/metrics', 'what it is about is plain to the rule and to the service'],
    ['/api/ch%61t/%7eroo%6Ds', '/api/chat/~rooms', 'unreserved characters are unescaped'],
    ['/api/chat/a%c3%a4%3f', '/api/chat/a%C3%A4%3F', 'the other escapes are in upper case'],
    ['/api/chat/%252e%252e/x', '/api/chat/%252e%252e/x', 'unescaped once'],
    ['/api/chat/.../..x', '/api/chat/.../..x', 'not dot segments'],
    ["/api/chat/!$&'()*+,;=:@[]", "/api/chat/!$&'()*+,;=:@[]", 'allowed as they are'],
  ];
  for (const [target, seen, why] of targetForms)
    accept(`target ${target}`, get(H, target), [{ method: 'GET', target: seen, body: '' }], why);

  return vectors;
}

export type ResponseOutcome =
  /** A gateway answers 502 and closes the connection. */
  | { refused: true }
  /** The last is the one that is no 1xx. */
  | { replies: SeenReply[] }
  | { waits: true };

export interface SeenReply {
  status: number;
  reason: string;
  body: string;
  trailers?: string[];
  /** Whether the connection may be used again. */
  reusable: boolean;
}

export interface ResponseVector {
  name: string;
  raw: string;
  /** Of the request. */
  method?: 'GET' | 'HEAD';
  /** The connection was closed behind the bytes. */
  closed?: boolean;
  outcome: ResponseOutcome;
  why: string;
}

export function responseVectors(): ResponseVector[] {
  const vectors: ResponseVector[] = [];
  const reply = (headers: string, body = ''): string => `HTTP/1.1 200 OK\r\n${headers}\r\n${body}`;
  const refuse = (name: string, raw: string, why: string): void =>
    void vectors.push({ name, raw, outcome: { refused: true }, why });
  const accept = (
    name: string,
    raw: string,
    seen: Partial<SeenReply>[],
    why: string,
    more: Pick<ResponseVector, 'method' | 'closed'> = {},
  ): void =>
    void vectors.push({
      name,
      raw,
      outcome: {
        replies: seen.map((one) => ({ status: 200, reason: 'OK', body: '', reusable: true, ...one })),
      },
      why,
      ...more,
    });

  refuse(
    'Content-Length and Transfer-Encoding',
    reply('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'),
    'RFC 9112, 6.1: one of two ends; the other one splits the reply',
  );
  refuse(
    'two Content-Lengths that differ',
    reply('Content-Length: 2\r\nContent-Length: 3\r\n', '{} '),
    'RFC 9112, 6.3: 502',
  );
  refuse(
    'two Content-Lengths alike',
    reply('Content-Length: 2\r\nContent-Length: 2\r\n', '{}'),
    'may be taken for one (RFC 9112, 6.3), but two hands wrote this reply',
  );
  for (const value of ['2, 2', '+2', '-2', '0x2', '02', '', '2 2', '1e1', '9007199254740992'])
    refuse(
      `Content-Length: ${JSON.stringify(value)}`,
      reply(`Content-Length: ${value}\r\n`, '{}'),
      'no number',
    );
  for (const value of [
    'xchunked',
    'chunked, identity',
    'gzip, chunked',
    'gzip',
    'identity',
    '',
    'chunked, chunked',
  ])
    refuse(
      `Transfer-Encoding: ${JSON.stringify(value)}`,
      reply(`Transfer-Encoding: ${value}\r\n`, '2\r\n{}\r\n0\r\n\r\n'),
      'only chunked is spoken here; we never said TE',
    );
  refuse(
    'Transfer-Encoding with a tab',
    reply('Transfer-Encoding: chunked\t\r\n', '2\r\n{}\r\n0\r\n\r\n'),
    'to some it is not chunked then, and goes on to the end of the connection',
  );
  refuse(
    'two Transfer-Encodings',
    reply('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    'applied once',
  );
  refuse(
    'Transfer-Encoding in HTTP/1.0',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'RFC 9112, 6.1: faulty framing',
  );
  refuse(
    '204 with a body',
    'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}',
    'its bytes would be the next reply',
  );
  refuse(
    '204 in chunks',
    'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'its bytes would be the next reply',
  );
  refuse(
    '100 with a body',
    'HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\n{}',
    'its bytes would be the next reply',
  );
  refuse('line feeds alone', 'HTTP/1.1 200 OK\nContent-Length: 2\n\n{}\r\n\r\n', 'one line break, CRLF');
  refuse('a line feed alone behind a header', reply('X-A: b\nX-B: c\r\n'), 'response splitting');
  refuse('a carriage return alone in a value', reply('X-A: b\rX-B: c\r\n'), 'response splitting');
  refuse('a carriage return alone in the reason', 'HTTP/1.1 200 O\rK\r\n\r\n', 'response splitting');
  refuse('a line feed alone in the reason', 'HTTP/1.1 200 O\nK\r\n\r\n', 'response splitting');
  refuse('a NUL in the reason', 'HTTP/1.1 200 O\0K\r\n\r\n', 'a control character');
  refuse('a NUL in a value', reply('X-A: \0\r\n'), 'a control character');
  refuse('a folded header', reply('X-A: b\r\n c\r\n'), 'RFC 9112, 5.2: refused or unfolded');
  refuse('a space before the colon', reply('Content-Length : 2\r\n', '{}'), 'RFC 9112, 5.1');
  refuse('no colon', reply('X-A\r\n'), 'no header line');
  refuse('101 header lines', reply('A: b\r\n'.repeat(101)), 'bounded');
  refuse('a head of 17 KiB', reply(`X-A: ${'a'.repeat(17_408)}\r\n`), 'bounded');
  for (const line of [
    'HTTP/2 200',
    'HTTP/1.2 200 OK',
    'http/1.1 200 OK',
    'ICY 200 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 099 OK',
    'HTTP/1.1 000 OK',
    'HTTP/1.1 -20 OK',
    'HTTP/1.1 2x0 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1200 OK',
    'HTTP/1.1',
    ' HTTP/1.1 200 OK',
    'GET / HTTP/1.1',
  ])
    refuse(line, `${line}\r\nContent-Length: 0\r\n\r\n`, 'no status line');
  refuse('bytes before the status line', '\r\nHTTP/1.1 200 OK\r\n\r\n', 'left over from something');
  for (const [name, body] of [
    ['0x', '0x2\r\n{}\r\n0\r\n\r\n'],
    ['line feeds alone', '2\n{}\n0\n\n'],
    ['nothing behind the data', '2\r\n{}0\r\n\r\n'],
    ['a size past all numbers', 'fffffffffffffffff\r\n{}'],
    ['a line feed in an extension', '2;a\n{}\r\n0\r\n\r\n'],
    ['a folded trailer', '0\r\nX-A: b\r\n c\r\n\r\n'],
  ] as const)
    refuse(`chunks: ${name}`, reply('Transfer-Encoding: chunked\r\n', body), 'as in requests');

  accept('a length', reply('Content-Length: 2\r\n', '{}'), [{ body: '{}' }], 'the usual');
  accept('a length of 0', reply('Content-Length: 0\r\n'), [{}], 'no body');
  accept(
    'chunks with trailers',
    reply('Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\nServer-Timing: a\r\nSet-Cookie: a=b\r\n\r\n'),
    [{ body: '{}', trailers: ['server-timing', 'a'] }],
    'a cookie in a trailer is dropped',
  );
  accept('until the end', reply('', '{}'), [{ body: '{}', reusable: false }], 'RFC 9112, 6.3', {
    closed: true,
  });
  accept(
    'Connection: close',
    reply('Connection: close\r\nContent-Length: 2\r\n', '{}'),
    [{ body: '{}', reusable: false }],
    'as it says',
  );
  accept(
    'HTTP/1.0',
    'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}',
    [{ body: '{}', reusable: false }],
    'closes',
  );
  accept(
    'HTTP/1.0 with keep-alive',
    'HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n{}',
    [{ body: '{}' }],
    'as it says',
  );
  accept(
    'no reason',
    'HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n',
    [{ reason: '' }],
    'RFC 9112, 4: optional',
  );
  accept(
    'no reason and no space',
    'HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n',
    [{ reason: '' }],
    'some servers send that, and nobody reads the reason',
  );
  accept(
    'a reason past ASCII',
    'HTTP/1.1 200 Tr\xe8s bien\r\nContent-Length: 0\r\n\r\n',
    [{ reason: 'Tr\xe8s bien' }],
    'obs-text',
  );
  accept(
    'a status that nobody knows',
    'HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n',
    [{ status: 799, reason: 'Odd' }],
    'three digits',
  );
  accept('204', 'HTTP/1.1 204 No Content\r\n\r\n', [{ status: 204, reason: 'No Content' }], 'no body');
  accept(
    '204 with a length of 0',
    'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
    [{ status: 204, reason: 'No Content' }],
    'should not be there, but means the same',
  );
  accept(
    '304 with the length of what it stands for',
    'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n',
    [{ status: 304, reason: 'Not Modified' }],
    'RFC 9110, 8.6: no body follows',
  );
  accept(
    'HEAD with the length of what GET gives',
    reply('Content-Length: 1000\r\n'),
    [{}],
    'RFC 9110, 9.3.2',
    {
      method: 'HEAD',
    },
  );
  accept('HEAD that speaks of chunks', reply('Transfer-Encoding: chunked\r\n'), [{}], 'RFC 9112, 6.1', {
    method: 'HEAD',
  });
  accept(
    '100 and 103 before the reply',
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${reply('Content-Length: 2\r\n', '{}')}`,
    [{ status: 100, reason: 'Continue' }, { status: 103, reason: 'Early Hints' }, { body: '{}' }],
    'any number of 1xx come before',
  );
  vectors.push({
    name: 'a body that is shorter than it says',
    raw: reply('Content-Length: 5\r\n', 'hell'),
    outcome: { waits: true },
    why: 'the rest may come; if the connection ends instead, the reply was cut off',
  });
  vectors.push({
    name: 'chunks without the last one',
    raw: reply('Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n'),
    outcome: { waits: true },
    why: 'the rest may come; if the connection ends instead, the reply was cut off',
  });
  return vectors;
}
