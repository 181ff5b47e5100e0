import { fileURLToPath } from 'node:url';
import { type Random, seededRandom } from '../../shared/seeded-random.ts';
import {
  BadFraming,
  type BodyDecoder,
  chunkedDecoder,
  lengthDecoder,
  untilCloseDecoder,
} from './body-decoder.ts';
import { requestVectors, responseVectors, type SeenReply, type SeenRequest } from './corpus.ts';
import {
  BadHead,
  endOfHead,
  hasBareLineFeed,
  MAX_HEAD_BYTES,
  parseRequestHead,
  parseResponseHead,
  type RequestHead,
  type ResponseHead,
} from './head.ts';
import type { HeaderList, SharedHeaderList } from './headers.ts';
import { RequestHeads, ResponseHeads } from './known-heads.ts';
import { normaliseTarget, type Target } from './target.ts';

/**
 * A mutation fuzzer of the parsers: `bun gateway/http/fuzz.ts --rounds 1000000 --seed 1`. It takes messages of the
 * corpus, damages them, and checks what must hold for whatever comes in. The same seed does the same.
 */

// How a connection uses the parsers, without the connection

export interface Framed<Head> {
  head: Head;
  /** Bytes of the head with its blank line, and of the body with its framing. */
  headBytes: number;
  bodyBytes: number;
  body: string;
  trailers: HeaderList;
}

export interface RequestReading {
  requests: (Framed<RequestHead> & { target: Target })[];
  /** Why it went no further, if a byte was refused. */
  refused?: { status: number; by: 'head' | 'target' | 'body' };
  /** More is wanted to complete the last one. */
  waits: boolean;
}

const requestHeads = new RequestHeads();
const responseHeads = new ResponseHeads();

/** Reads a head as connections do, who know some already, and the long way: both must come to the same. */
function readAlike<Head extends RequestHead | ResponseHead>(
  bytes: Buffer,
  end: number,
  heads: { read(bytes: Buffer, end: number): Head },
  parse: (text: string) => Head,
): Head {
  const outcome = (read: () => Head): Head | BadHead => {
    try {
      return { ...read(), reuse: undefined };
    } catch (error) {
      if (error instanceof BadHead) return error;
      throw error;
    }
  };
  const quick = outcome(() => heads.read(bytes, end));
  const slow = outcome(() => parse(bytes.toString('latin1', 0, end - 4)));
  ensure(equal(quick, slow), 'a known head is read differently');
  if (slow instanceof BadHead) throw slow;
  return slow;
}

const MAX_EMPTY_LINES = 4;

/** Reads all requests out of what came in over one connection, in these pieces. */
export function readRequests(pieces: Buffer[]): RequestReading {
  const reading: RequestReading = { requests: [], waits: false };
  let held: Buffer = Buffer.alloc(0);
  let emptyLines = 0;
  let body: BodyReading | undefined;
  let under: RequestReading['requests'][number] | undefined;
  let by: 'head' | 'target' | 'body' = 'head';

  const take = (): boolean => {
    if (body && under) {
      by = 'body';
      held = held.subarray(body.push(held));
      if (!body.decoder.done) return false;
      reading.requests.push(body.into(under));
      body = undefined;
      return held.length > 0;
    }
    by = 'head';
    if (held[0] === 13 && held[1] === 10 && emptyLines < MAX_EMPTY_LINES) {
      emptyLines++;
      held = held.subarray(2);
      return held.length > 0;
    }
    const end = endOfHead(held, 0);
    if ((end < 0 ? held.length : end) > MAX_HEAD_BYTES) throw new BadHead(431, 'too large');
    if (end < 0) {
      if (hasBareLineFeed(held, 0)) throw new BadHead(400, 'line feed');
      return false;
    }
    const head = readAlike(held, end, requestHeads, parseRequestHead);
    by = 'target';
    const target = normaliseTarget(head.target);
    emptyLines = 0;
    held = held.subarray(end);
    under = { head, target, headBytes: end, bodyBytes: 0, body: '', trailers: [] };
    if (head.chunked) body = new BodyReading(chunkedDecoder);
    else if (head.contentLength > 0)
      body = new BodyReading((events) => lengthDecoder(head.contentLength, events));
    else reading.requests.push(under);
    return held.length > 0;
  };
  try {
    for (const piece of pieces) {
      held = held.length === 0 ? piece : Buffer.concat([held, piece]);
      while (take());
    }
    reading.waits = held.length > 0 || body !== undefined;
  } catch (error) {
    if (error instanceof BadHead) reading.refused = { status: error.status, by };
    else if (error instanceof BadFraming) reading.refused = { status: 400, by: 'body' };
    else throw error;
  }
  return reading;
}

export interface ReplyReading {
  replies: (Framed<ResponseHead> & { reusable: boolean })[];
  refused: boolean;
  waits: boolean;
}

/** Reads the reply to one request, with the 1xx before it; what stands behind it makes the connection unusable. */
export function readReply(pieces: Buffer[], method: string, closed: boolean): ReplyReading {
  const reading: ReplyReading = { replies: [], refused: false, waits: true };
  let held: Buffer = Buffer.alloc(0);
  let under: ReplyReading['replies'][number] | undefined;
  let body: BodyReading | undefined;
  let endless: ReturnType<typeof untilCloseDecoder> | undefined;
  const finish = (): void => {
    reading.replies.push(body && under ? body.into(under) : under!);
    reading.waits = false;
    body = undefined;
    if (held.length > 0) under!.reusable = false;
  };
  const take = (): boolean => {
    if (!reading.waits) {
      reading.replies.at(-1)!.reusable = false;
      return false;
    }
    if (body) {
      held = held.subarray(body.push(held));
      if (body.decoder.done) finish();
      return false;
    }
    const end = endOfHead(held, 0);
    if ((end < 0 ? held.length : end) > MAX_HEAD_BYTES) throw new BadHead(431, 'too large');
    if (end < 0) return false;
    const head = readAlike(held, end, responseHeads, parseResponseHead);
    held = held.subarray(end);
    under = { head, headBytes: end, bodyBytes: 0, body: '', trailers: [], reusable: head.keepAlive };
    if (head.status < 200) reading.replies.push(under);
    else if (method === 'HEAD' || head.status === 204 || head.status === 304) finish();
    else if (head.chunked) body = new BodyReading(chunkedDecoder);
    else if (head.contentLength === 0) finish();
    else if (head.contentLength > 0)
      body = new BodyReading((events) => lengthDecoder(head.contentLength, events));
    else {
      body = new BodyReading((events) => {
        endless = untilCloseDecoder(events);
        return endless;
      });
      under.reusable = false;
    }
    return held.length > 0;
  };
  try {
    for (const piece of pieces) {
      held = held.length === 0 ? piece : Buffer.concat([held, piece]);
      while (take());
    }
    if (closed && endless) {
      endless.end();
      finish();
    }
  } catch (error) {
    if (!(error instanceof BadHead || error instanceof BadFraming)) throw error;
    reading.refused = true;
  }
  return reading;
}

/** Collects what a decoder says, and checks that each piece is a part of the input in its order. */
class BodyReading {
  readonly decoder: BodyDecoder;
  private text = '';
  private bytes = 0;
  private trailers: HeaderList = [];
  private ends = 0;
  private input: Buffer = Buffer.alloc(0);
  private reached = 0;

  constructor(
    decoderFor: (events: {
      onBodyData(piece: Buffer): void;
      onBodyEnd(trailers: HeaderList): void;
    }) => BodyDecoder,
  ) {
    this.decoder = decoderFor({
      onBodyData: (piece) => {
        ensure(this.ends === 0 && piece.length > 0, 'data behind the end, or none');
        const at = piece.byteOffset - this.input.byteOffset;
        ensure(
          piece.buffer === this.input.buffer && at >= this.reached && at + piece.length <= this.input.length,
          'a piece is not a part of the input',
        );
        this.reached = at + piece.length;
        this.text += piece.toString('latin1');
      },
      onBodyEnd: (trailers) => {
        this.ends++;
        this.trailers = trailers;
      },
    });
  }

  push(input: Buffer): number {
    this.input = input;
    this.reached = 0;
    const taken = this.decoder.push(input);
    ensure(taken >= this.reached && taken <= input.length, 'takes more than it got');
    ensure(taken === input.length || this.decoder.done, 'leaves bytes of its own body');
    this.bytes += taken;
    return taken;
  }

  into<Message extends Framed<unknown>>(message: Message): Message {
    ensure(this.ends === 1, 'the end is not told once');
    ensure(this.decoder.push(Buffer.from('x')) === 0, 'takes bytes behind its end');
    message.body = this.text;
    message.bodyBytes = this.bytes;
    message.trailers = this.trailers;
    return message;
  }
}

export const seenRequest = ({
  head,
  target,
  body,
  trailers,
}: RequestReading['requests'][number]): SeenRequest => ({
  method: head.method,
  target: target.path + target.query,
  body,
  ...(trailers.length > 0 ? { trailers } : {}),
});

export const seenReply = ({
  head,
  body,
  trailers,
  reusable,
}: ReplyReading['replies'][number]): SeenReply => ({
  status: head.status,
  reason: head.reason,
  body,
  ...(trailers.length > 0 ? { trailers } : {}),
  reusable,
});

// What must hold, checked by other means than the parsers'

const ensure = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what);
};

const LINE = String.raw`[!#$%&'*+\-.^_\x60|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*`;
const REQUEST_HEAD = new RegExp(
  String.raw`^[!#$%&'*+\-.^_\x60|~0-9A-Za-z]{1,32} /[\x21-\x7e]* HTTP/1\.[01](?:\r\n${LINE})*$`,
);
const RESPONSE_HEAD = new RegExp(
  String.raw`^HTTP/1\.[01] [1-9]\d\d(?: [\t\x20-\x7e\x80-\xff]*)?(?:\r\n${LINE})*$`,
);
const CHUNK = /^([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n/;
const TRAILERS = new RegExp(String.raw`^(?:${LINE}\r\n)*\r\n`);

/** The length and the data of a chunked body at the start of the text, read the slow and simple way. */
function readChunks(text: string): { length: number; data: string } | undefined {
  let data = '';
  for (let position = 0; ; ) {
    const line = CHUNK.exec(text.slice(position));
    if (!line) return undefined;
    position += line[0].length;
    const size = Number.parseInt(line[1]!, 16);
    if (size === 0) {
      const trailers = TRAILERS.exec(text.slice(position));
      return trailers ? { length: position + trailers[0].length, data } : undefined;
    }
    data += text.slice(position, position + size);
    position += size;
    if (text.slice(position, position + 2) !== '\r\n') return undefined;
    position += 2;
  }
}

const linesNamed = (headText: string, name: string): string[] =>
  headText
    .split('\r\n')
    .slice(1)
    .filter((line) => line.slice(0, line.indexOf(':')).toLowerCase() === name)
    .map((line) => line.slice(line.indexOf(':') + 1).replace(/^[\t ]+|[\t ]+$/g, ''));

/** The framing of a head that was accepted, by the book. */
function checkFraming(headText: string, head: RequestHead | ResponseHead): void {
  const lengths = linesNamed(headText, 'content-length');
  const codings = linesNamed(headText, 'transfer-encoding');
  ensure(lengths.length + codings.length <= 1, 'two lines about framing');
  ensure(!/\r\n(?:content-length|transfer-encoding):.*\t/i.test(headText), 'a tab in a line about framing');
  ensure(head.chunked === (codings.length === 1), 'chunks are not what the head says');
  if (codings.length === 1)
    ensure(codings[0]!.toLowerCase() === 'chunked' && head.minor === 1, 'an odd coding');
  if (lengths.length === 1) ensure(/^(?:0|[1-9]\d{0,15})$/.test(lengths[0]!), 'an odd length');
  ensure(
    head.contentLength === (lengths.length === 1 ? Number(lengths[0]) : -1),
    'the length is another one',
  );
  ensure(Number.isSafeInteger(head.contentLength), 'the length is past all numbers');
  const lines = headText.split('\r\n').slice(1);
  ensure(head.headers.length === 2 * lines.length, 'lines are lost');
  for (let index = 0; index < lines.length; index++) {
    const [, name, value] = /^([^:]*):[\t ]*(.*?)[\t ]*$/.exec(lines[index]!)!;
    ensure(head.headers[2 * index] === name!.toLowerCase(), 'another name');
    ensure(head.headers[2 * index + 1] === value, 'another value');
  }
}

function checkBody(text: string, framed: Framed<RequestHead | ResponseHead>, bodiless: boolean): void {
  const { head, body, bodyBytes } = framed;
  if (bodiless) ensure(bodyBytes === 0 && body === '', 'a body where none can be');
  else if (head.chunked) {
    const expected = readChunks(text);
    ensure(expected !== undefined, 'chunks are accepted that are none');
    ensure(expected!.length === bodyBytes && expected!.data === body, 'the chunks are read otherwise');
  } else {
    ensure(bodyBytes === body.length && text.startsWith(body), 'the body is another one');
    if (head.contentLength >= 0) ensure(bodyBytes === head.contentLength, 'the body has another length');
  }
}

const headLines = (headers: SharedHeaderList): string => {
  let lines = '';
  for (let index = 0; index < headers.length; index += 2)
    lines += `${headers[index]}: ${headers[index + 1]}\r\n`;
  return lines;
};
const bodyText = ({ head, body, trailers }: Framed<RequestHead | ResponseHead>): string =>
  head.chunked
    ? `${body === '' ? '' : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n${headLines(trailers)}\r\n`
    : body;

/** Throws if anything does not hold for these bytes, as a request and in any pieces. */
export function checkRequests(bytes: Buffer, random: Random): RequestReading {
  const reading = readRequests([bytes]);
  const text = bytes.toString('latin1');
  let position = 0;
  for (const request of reading.requests) {
    while (text.startsWith('\r\n', position)) position += 2;
    const headText = text.slice(position, position + request.headBytes - 4);
    ensure(REQUEST_HEAD.test(headText), 'a head is accepted that is none');
    checkFraming(headText, request.head);
    const hosts = linesNamed(headText, 'host');
    ensure(
      hosts.length <= 1 &&
        (hosts[0] ?? '') === request.head.host &&
        (request.head.minor === 0 || hosts.length === 1),
      'an odd Host',
    );
    position += request.headBytes;
    const bodiless = /^(?:GET|HEAD|OPTIONS|TRACE|CONNECT)$/.test(request.head.method);
    checkBody(
      text.slice(position),
      request,
      bodiless || (!request.head.chunked && request.head.contentLength < 0),
    );
    position += request.bodyBytes;

    const target = request.target.path + request.target.query;
    ensure(/^\/[\x21-\x7e]*$/.test(target), 'a target has other characters');
    ensure(!/\/\.{0,2}\/|\/\.{1,2}$/.test(request.target.path), 'a path has an empty or a dot segment');
    ensure(!/%2f|%5c|%0|%1|[\\#]/i.test(request.target.path), 'a path hides something');
    const again = normaliseTarget(target);
    ensure(again.path === request.target.path && again.query === request.target.query, 'normalised twice');

    const { head } = request;
    const written = `${head.method} ${target} HTTP/1.${head.minor}\r\n${headLines(head.headers)}\r\n${bodyText(request)}`;
    const [same, more] = readRequests([Buffer.from(written, 'latin1')]).requests;
    ensure(same !== undefined && more === undefined, 'written again, it is refused or two');
    const { target: _before, ...wanted } = head;
    const { target: _after, ...got } = same!.head;
    ensure(
      equal(wanted, got) && equal(seenRequest(request), seenRequest(same!)),
      'written again, it differs',
    );
  }
  for (const pieces of inPieces(bytes, random)) {
    const other = readRequests(pieces);
    ensure(
      equal(reading.requests, other.requests) &&
        reading.waits === other.waits &&
        // Of two faults the one that is seen first may be another one.
        (reading.refused === undefined) === (other.refused === undefined),
      'in pieces it is something else',
    );
  }
  return reading;
}

/** Throws if anything does not hold for these bytes, as a reply and in any pieces. */
export function checkReply(bytes: Buffer, method: string, closed: boolean, random: Random): ReplyReading {
  const reading = readReply([bytes], method, closed);
  const text = bytes.toString('latin1');
  let position = 0;
  for (const reply of reading.replies) {
    const headText = text.slice(position, position + reply.headBytes - 4);
    ensure(RESPONSE_HEAD.test(headText), 'a head is accepted that is none');
    checkFraming(headText, reply.head);
    position += reply.headBytes;
    const { status } = reply.head;
    checkBody(
      text.slice(position),
      reply,
      method === 'HEAD' || status < 200 || status === 204 || status === 304,
    );
    position += reply.bodyBytes;

    const { head } = reply;
    const body = reply.bodyBytes === 0 ? '' : bodyText(reply);
    const written = `HTTP/1.${head.minor} ${status} ${head.reason}\r\n${headLines(head.headers)}\r\n${body}`;
    const [same, more] = readReply([Buffer.from(written, 'latin1')], method, closed).replies;
    ensure(same !== undefined && more === undefined, 'written again, it is refused or two');
    ensure(equal(head, same!.head) && reply.body === same!.body, 'written again, it differs');
  }
  for (const pieces of inPieces(bytes, random))
    ensure(equal(reading, readReply(pieces, method, closed)), 'in pieces it is something else');
  return reading;
}

const equal = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** The bytes one by one (if they are few), and in random pieces. */
function* inPieces(bytes: Buffer, random: Random): Generator<Buffer[]> {
  if (bytes.length <= 600) yield Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = Math.min(bytes.length, start + 1 + random(random(4) === 0 ? 5 : 1 + bytes.length / 3));
    pieces.push(bytes.subarray(start, end));
    start = end;
  }
  yield pieces;
}

// The fuzzer

const SPICES = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    '\t',
    ' ',
    ':',
    ',',
    ';',
    '\x0b',
    '\x7f',
    '\xa0',
    '\r\n\r\n',
    '\r\n ',
    '%',
    '/',
    '..',
  ],
  ...[
    '%2e',
    '%2F',
    '?',
    '#',
    '0',
    '1',
    'a',
    'F',
    '+',
    '-',
    '0x',
    '0\r\n\r\n',
    '5\r\n',
    'ffffffffffffffff',
    '"',
  ],
  ...['Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: a\r\n', 'Connection: close\r\n'],
  ...['Connection: keep-alive, upgrade\r\n', 'Upgrade: websocket\r\n', 'Expect: 100-continue\r\n', 'chunked'],
  ...[
    'HTTP/1.0',
    'HTTP/1.1',
    'GET ',
    'POST ',
    'HEAD ',
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'X'.repeat(80),
    '204',
    '100',
  ],
];

/** Damages a text in one to four places, mostly in one. */
function mutate(text: string, others: string[], random: Random): string {
  let mutated = text;
  for (let times = 1 + random(1 + random(4)); times > 0; times--) {
    const at = random(mutated.length + 1);
    const length = random(random(3) === 0 ? 40 : 3);
    const before = mutated.slice(0, at);
    const behind = mutated.slice(at);
    const spice = SPICES[random(SPICES.length)]!;
    switch (random(7)) {
      case 0:
        mutated = before + String.fromCharCode(random(256)) + behind.slice(1);
        break;
      case 1:
        mutated = before + behind.slice(length);
        break;
      case 2:
        mutated = before + spice + behind;
        break;
      case 3:
        mutated = before + spice + behind.slice(length);
        break;
      case 4:
        mutated = before + behind.slice(0, length) + behind;
        break;
      case 5: {
        const other = others[random(others.length)]!;
        const from = random(other.length);
        mutated = before + other.slice(from, from + 1 + random(60)) + behind;
        break;
      }
      case 6: {
        const other = others[random(others.length)]!;
        mutated = before + other.slice(random(other.length));
        break;
      }
    }
  }
  return mutated;
}

export interface FuzzCounts {
  rounds: number;
  /** Messages of which all, or the beginning, was accepted; refused ones; ones that want more. */
  accepted: number;
  refused: number;
  waiting: number;
}

/** Throws with the seed, the round and the bytes if anything does not hold. */
export function fuzz(seed: number, rounds: number): FuzzCounts {
  const random = seededRandom(seed);
  const requests = seeds(requestVectors());
  const replies = seeds(responseVectors());
  const counts: FuzzCounts = { rounds, accepted: 0, refused: 0, waiting: 0 };
  for (let round = 0; round < rounds; round++) {
    const asReply = random(3) === 0;
    const { all, good } = asReply ? replies : requests;
    // Damage to a good message tells more than to one that is refused anyway.
    const chosen = random(4) === 0 ? all[random(all.length)]! : good[random(good.length)]!;
    const bytes = Buffer.from(mutate(chosen, all, random), 'latin1');
    try {
      const { refused, waits, read } = asReply
        ? summary(checkReply(bytes, random(8) === 0 ? 'HEAD' : 'GET', random(2) === 0, random))
        : summary(checkRequests(bytes, random));
      if (read > 0) counts.accepted++;
      if (refused) counts.refused++;
      else if (waits) counts.waiting++;
    } catch (cause) {
      const what = `seed ${seed}, round ${round}: ${JSON.stringify(bytes.toString('latin1'))}`;
      throw new Error(`${(cause as Error).message} (${what})`, { cause });
    }
  }
  return counts;
}

/** Long ones only cost time. */
function seeds(vectors: { raw: string; outcome: object }[]): { all: string[]; good: string[] } {
  const short = vectors.filter(({ raw }) => raw.length < 2_000);
  const good = short.filter(({ outcome }) => !('refused' in outcome));
  return { all: short.map(({ raw }) => raw), good: good.map(({ raw }) => raw) };
}

const summary = (
  reading: RequestReading | ReplyReading,
): { refused: boolean; waits: boolean; read: number } => ({
  refused: Boolean(reading.refused),
  waits: reading.waits,
  read: 'requests' in reading ? reading.requests.length : reading.replies.length,
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name: string, absent: number): number => {
    const index = process.argv.indexOf(`--${name}`);
    return index < 0 ? absent : Number(process.argv[index + 1]);
  };
  const seed = option('seed', 1);
  const rounds = option('rounds', 100_000);
  const started = performance.now();
  const counts = fuzz(seed, rounds);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(
    `seed ${seed}: ${rounds} messages in ${seconds} s, of which ${counts.accepted} were accepted (or began well), ${counts.refused} refused, ${counts.waiting} wait for more`,
  );
}
