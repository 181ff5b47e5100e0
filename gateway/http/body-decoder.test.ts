import { describe, expect, test } from 'bun:test';
import {
  BadFraming,
  type BodyDecoder,
  type BodyEvents,
  chunkedDecoder,
  lengthDecoder,
  untilCloseDecoder,
} from './body-decoder.ts';

/** What a decoder said: the pieces, and the trailers once it has ended. */
function listen<Decoder extends BodyDecoder>(
  create: (events: BodyEvents) => Decoder,
): { decoder: Decoder; pieces: Buffer[]; text(): string; ends: string[][] } {
  const pieces: Buffer[] = [];
  const ends: string[][] = [];
  const decoder = create({
    onBodyData: (piece) => void pieces.push(piece),
    onBodyEnd: (trailers) => void ends.push(trailers),
  });
  return { decoder, pieces, ends, text: () => Buffer.concat(pieces).toString('latin1') };
}
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('a length', () => {
  test('ends with its last byte and leaves what follows', () => {
    const { decoder, text, ends } = listen((events) => lengthDecoder(5, events));
    expect(decoder.push(latin1('he'))).toBe(2);
    expect([decoder.done, ends.length]).toEqual([false, 0]);
    expect(decoder.push(latin1('lloGET /'))).toBe(3);
    expect([decoder.done, text(), ends]).toEqual([true, 'hello', [[]]]);
    expect(decoder.push(latin1('GET /'))).toBe(0);
    expect([text(), ends.length]).toEqual(['hello', 1]);
  });

  test('of nothing ends with the first push', () => {
    const { decoder, pieces, ends } = listen((events) => lengthDecoder(0, events));
    expect([decoder.done, ends.length]).toEqual([false, 0]);
    expect(decoder.push(latin1('GET /'))).toBe(0);
    expect([decoder.done, pieces.length, ends.length]).toEqual([true, 0, 1]);
  });

  test('past 32 bits is counted exactly', () => {
    const { decoder, ends } = listen((events) => lengthDecoder(2 ** 40, events));
    const piece = Buffer.alloc(65_536);
    for (let round = 0; round < 100; round++) expect(decoder.push(piece)).toBe(65_536);
    expect([decoder.done, ends.length]).toEqual([false, 0]);
  });

  test('hands on the input itself', () => {
    const { decoder, pieces } = listen((events) => lengthDecoder(8, events));
    const [one, other] = [latin1('abcd'), latin1('efghGET')];
    decoder.push(one);
    decoder.push(other);
    expect(pieces[0]).toBe(one);
    expect([pieces[1]!.buffer, pieces[1]!.byteOffset, pieces[1]!.length]).toEqual([
      other.buffer,
      other.byteOffset,
      4,
    ]);
  });
});

test('until the end of the connection: all bytes, and the end only when told', () => {
  const { decoder, text, ends } = listen(untilCloseDecoder);
  expect(decoder.push(latin1('a'))).toBe(1);
  expect(decoder.push(latin1(''))).toBe(0);
  expect(decoder.push(latin1('bc'))).toBe(2);
  expect([decoder.done, ends.length, text()]).toEqual([false, 0, 'abc']);
  decoder.end();
  decoder.end();
  expect([decoder.done, ends]).toEqual([true, [[]]]);
  expect(decoder.push(latin1('d'))).toBe(0);
  expect(text()).toBe('abc');
});

describe('chunks', () => {
  const refused = (text: string): string | undefined => {
    const { decoder } = listen(chunkedDecoder);
    try {
      decoder.push(latin1(text));
    } catch (error) {
      if (error instanceof BadFraming) return error.message;
      throw error;
    }
    return undefined;
  };

  test('come as parts of the input, one for each chunk in it', () => {
    const { decoder, pieces, text, ends } = listen(chunkedDecoder);
    const input = latin1('3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\nGET');
    expect(decoder.push(input)).toBe(input.length - 3);
    expect([decoder.done, text(), ends]).toEqual([true, 'abcdefg', [[]]]);
    expect(
      pieces.map((piece) => [piece.buffer === input.buffer, piece.byteOffset - input.byteOffset]),
    ).toEqual([
      [true, 3],
      [true, 11],
    ]);
  });

  test('that are longer than the input come as they come', () => {
    const { decoder, pieces } = listen(chunkedDecoder);
    decoder.push(latin1('100000\r\n'));
    const piece = Buffer.alloc(65_536, 'a');
    for (let round = 0; round < 16; round++) expect(decoder.push(piece)).toBe(65_536);
    expect(pieces.every((one) => one === piece) && pieces.length === 16).toBe(true);
    expect(decoder.push(latin1('\r\n0\r\n\r\n'))).toBe(7);
    expect(decoder.done).toBe(true);
  });

  test('the largest size is taken, the next one is not', () => {
    expect(refused('1fffffffffffff\r\n')).toBeUndefined();
    expect(refused('001fffffffffffff\r\n')).toBeUndefined();
    expect(refused('20000000000000\r\n')).toBeDefined();
    expect(refused('0000000000000001\r\n')).toBeUndefined();
    expect(refused('00000000000000001\r\n')).toBeDefined();
  });

  test('each byte in place of a size', () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const digit = /[0-9A-Fa-f]/.test(character);
      expect([code, refused(character) === undefined]).toEqual([code, digit]);
      const behind = digit || character === ';' || character === '\r';
      expect([code, refused(`1${character}`) === undefined]).toEqual([code, behind]);
    }
  });

  test('extensions are skipped, up to 4 KiB in all', () => {
    // With its semicolon.
    expect(refused(`1;${'a'.repeat(4_095)}\r\na\r\n0\r\n\r\n`)).toBeUndefined();
    expect(refused(`1;${'a'.repeat(4_096)}\r\na\r\n0\r\n\r\n`)).toBeDefined();
    expect(refused(`${'1;a\r\na\r\n'.repeat(2_048)}0\r\n\r\n`)).toBeUndefined();
    expect(refused(`${'1;a\r\na\r\n'.repeat(2_048)}0;a\r\n\r\n`)).toBeDefined();
  });

  test('trailers up to 8 KiB with their blank line, whole and byte by byte', () => {
    const section = (size: number): string => `X-A: ${'a'.repeat(size - 9)}\r\n\r\n`;
    for (const [size, good] of [
      [8_192, true],
      [8_193, false],
      [20_000, false],
    ] as const) {
      const text = `0\r\n${section(size)}`;
      expect([size, refused(text) === undefined]).toEqual([size, good]);
      const { decoder, ends } = listen(chunkedDecoder);
      const feed = (): void => {
        for (const byte of latin1(text)) decoder.push(Buffer.of(byte));
      };
      if (good) feed();
      else expect(feed).toThrow(BadFraming);
      expect(ends.length).toBe(good ? 1 : 0);
    }
  });

  test('a trailer section may be cut anywhere, and what follows it is left', () => {
    const text = '0\r\nX-A: 1\r\nX-B: 2\r\n\r\nGET / HTTP/1.1\r\n\r\n';
    for (let cut = 0; cut <= text.length; cut++) {
      const { decoder, ends } = listen(chunkedDecoder);
      const first = decoder.push(latin1(text.slice(0, cut)));
      const second = decoder.push(latin1(text.slice(first)));
      expect([cut, first + second]).toEqual([cut, text.indexOf('GET')]);
      expect(ends).toEqual([['x-a', '1', 'x-b', '2']]);
    }
  });

  test('trailers that decide about something are dropped', () => {
    const dropped = [
      'Content-Length Transfer-Encoding Host Connection Upgrade Authorization Cookie Set-Cookie Content-Type',
      'Content-Encoding Content-Range Cache-Control Expect Range If-None-Match X-Forwarded-For X-Request-Id',
      'X-User-Id X-Lyceum-User Access-Control-Allow-Origin Location Idempotency-Key TRAILER Te X_Underscore',
    ].flatMap((names) => names.split(' '));
    const { decoder, ends } = listen(chunkedDecoder);
    decoder.push(latin1(`0\r\n${dropped.map((name) => `${name}: 1\r\n`).join('')}Content-Digest: x\r\n\r\n`));
    expect(ends).toEqual([['content-digest', 'x']]);
  });

  test('once refused, every byte is refused', () => {
    const { decoder, ends } = listen(chunkedDecoder);
    expect(() => decoder.push(latin1('x'))).toThrow(BadFraming);
    expect(() => decoder.push(latin1('0\r\n\r\n'))).toThrow(BadFraming);
    expect([decoder.done, ends.length]).toEqual([false, 0]);
  });

  test('a message does not repeat what was sent', () => {
    for (const text of ['<script>', '1<script>', '0\r\n<script>\r\n\r\n', '1;\0<script>'])
      expect(refused(text)).not.toContain('script');
  });
});
