import { BadHead, parseTrailers } from './head.ts';
import type { HeaderList } from './headers.ts';

export interface BodyEvents {
  /** A part of the input itself, valid as long as that. */
  onBodyData(piece: Buffer): void;
  onBodyEnd(trailers: HeaderList): void;
}

export interface BodyDecoder {
  /**
   * Takes bytes of this message's body, calls the events, and returns how many it took: fewer than given only if the
   * body ended within them. Throws BadFraming, from then on every time.
   */
  push(bytes: Buffer): number;
  readonly done: boolean;
}

/** The body is not framed as HTTP/1.1 wants: where the next message begins can't be known. */
export class BadFraming extends Error {
  override readonly name = 'BadFraming';
}

const NO_TRAILERS: HeaderList = [];

/** A body of so many bytes. One of none ends with the first push, even of nothing. */
export const lengthDecoder = (length: number, events: BodyEvents): BodyDecoder =>
  new LengthDecoder(length, events);

class LengthDecoder implements BodyDecoder {
  done = false;
  constructor(
    private left: number,
    private readonly events: BodyEvents,
  ) {}

  push(bytes: Buffer): number {
    if (this.done) return 0;
    const size = bytes.length;
    if (size < this.left) {
      this.left -= size;
      if (size > 0) this.events.onBodyData(bytes);
      return size;
    }
    const taken = this.left;
    this.left = 0;
    this.done = true;
    if (taken > 0) this.events.onBodyData(taken === size ? bytes : bytes.subarray(0, taken));
    this.events.onBodyEnd(NO_TRAILERS);
    return taken;
  }
}

/** A body that ends with its connection, which only the caller sees: `end` says so. */
export const untilCloseDecoder = (events: BodyEvents): BodyDecoder & { end(): void } =>
  new UntilCloseDecoder(events);

class UntilCloseDecoder implements BodyDecoder {
  done = false;
  constructor(private readonly events: BodyEvents) {}

  push(bytes: Buffer): number {
    if (this.done) return 0;
    if (bytes.length > 0) this.events.onBodyData(bytes);
    return bytes.length;
  }

  end(): void {
    if (this.done) return;
    this.done = true;
    this.events.onBodyEnd(NO_TRAILERS);
  }
}

/** A body in chunks (RFC 9112, 7.1), read strictly: one CRLF, one spelling of a size, bounded extras. */
export const chunkedDecoder = (events: BodyEvents): BodyDecoder => new ChunkedDecoder(events);

const TAB = 9;
const LF = 10;
const CR = 13;
const SEMICOLON = 59;
const DEL = 127;

/** Over all chunks of a body: nobody uses them, and each byte costs us and not the sender. */
const MAX_EXTENSION_BYTES = 4_096;
const MAX_TRAILER_BYTES = 8_192;
const MAX_SIZE_DIGITS = 16;

/** Value of a hexadecimal digit, or 255. */
const HEX = new Uint8Array(256).fill(255);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const TRAILERS = 6;
const ENDED = 7;
const FAILED = 8;

class ChunkedDecoder implements BodyDecoder {
  private state = SIZE;
  /** Of the chunk's size, while it is read; then of its data that are still to come. */
  private left = 0;
  private digits = 0;
  private extensionBytes = 0;
  /** The trailer section so far, as latin1. */
  private trailers = '';

  constructor(private readonly events: BodyEvents) {}

  get done(): boolean {
    return this.state === ENDED;
  }

  push(bytes: Buffer): number {
    const size = bytes.length;
    let position = 0;
    while (position < size) {
      switch (this.state) {
        case SIZE: {
          const code = bytes[position]!;
          const digit = HEX[code]!;
          position++;
          if (digit < 16) {
            if (++this.digits > MAX_SIZE_DIGITS) this.fail('A chunk size is too long.');
            this.left = this.left * 16 + digit;
            break;
          }
          if (this.digits === 0) this.fail('A chunk size is not a number.');
          // Doubles are exact up to the limit, and rounding never brings what is past it back below it.
          if (this.left > Number.MAX_SAFE_INTEGER) this.fail('A chunk size is too large.');
          if (code === CR) this.state = SIZE_LF;
          else if (code === SEMICOLON) this.skip(EXTENSION);
          else this.fail('A chunk size is not a number.');
          break;
        }
        case EXTENSION: {
          const code = bytes[position++]!;
          if (code === CR) this.state = SIZE_LF;
          else if (code < 32 ? code !== TAB : code === DEL)
            this.fail('A chunk extension has a control character.');
          else this.skip(EXTENSION);
          break;
        }
        case SIZE_LF:
          if (bytes[position++] !== LF) this.fail('A chunk size does not end with CRLF.');
          this.digits = 0;
          this.state = this.left === 0 ? TRAILERS : DATA;
          break;
        case DATA: {
          const taken = Math.min(this.left, size - position);
          this.left -= taken;
          if (this.left === 0) this.state = DATA_CR;
          position += taken;
          this.events.onBodyData(taken === size ? bytes : bytes.subarray(position - taken, position));
          break;
        }
        case DATA_CR:
          if (bytes[position++] !== CR) this.fail('A chunk does not end with CRLF.');
          this.state = DATA_LF;
          break;
        case DATA_LF:
          if (bytes[position++] !== LF) this.fail('A chunk does not end with CRLF.');
          this.state = SIZE;
          break;
        case TRAILERS:
          position = this.readTrailers(bytes, position);
          break;
        case ENDED:
          return position;
        default:
          this.fail('The body was malformed before.');
      }
    }
    return position;
  }

  private skip(state: number): void {
    if (++this.extensionBytes > MAX_EXTENSION_BYTES) this.fail('The chunk extensions are too long.');
    this.state = state;
  }

  /** Collects the section up to its blank line. Returns where it stopped. */
  private readTrailers(bytes: Buffer, from: number): number {
    const before = this.trailers.length;
    // Nearly always there is nothing but the blank line.
    if (before === 0 && bytes[from] === CR && bytes[from + 1] === LF) {
      this.end(NO_TRAILERS);
      return from + 2;
    }
    const room = MAX_TRAILER_BYTES - before;
    const section = this.trailers + bytes.toString('latin1', from, Math.min(bytes.length, from + room));
    const blank = section.startsWith('\r\n') ? 0 : section.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (blank < 0) {
      for (let index = before; index < section.length; index++) {
        if ((section.charCodeAt(index) === LF) !== (section.charCodeAt(index - 1) === CR))
          this.fail('A trailer does not end with CRLF.');
      }
      if (section.length === MAX_TRAILER_BYTES) this.fail('The trailers are too long.');
      this.trailers = section;
      return from + section.length - before;
    }
    this.end(blank === 0 ? NO_TRAILERS : this.parse(section.slice(0, blank)));
    return from + blank + (blank === 0 ? 2 : 4) - before;
  }

  private parse(section: string): HeaderList {
    try {
      const all = parseTrailers(section);
      const allowed: HeaderList = [];
      for (let index = 0; index < all.length; index += 2) {
        if (!isForbiddenTrailer(all[index]!)) allowed.push(all[index]!, all[index + 1]!);
      }
      return allowed;
    } catch (error) {
      if (error instanceof BadHead) this.fail('The trailers are malformed.');
      throw error;
    }
  }

  private end(trailers: HeaderList): void {
    this.state = ENDED;
    this.events.onBodyEnd(trailers);
  }

  private fail(message: string): never {
    this.state = FAILED;
    throw new BadFraming(message);
  }
}

/**
 * RFC 9110, 6.5.1: a trailer must not say what its reader needed before the body: framing, routing, credentials, how to
 * read the content, conditions, control data. These are dropped, not refused: nothing here ever merges trailers into
 * headers, and the RFC lets whoever reads them throw any away.
 */
const FORBIDDEN_TRAILERS = new Set([
  'content-length',
  'transfer-encoding',
  'trailer',
  'te',
  'connection',
  'keep-alive',
  'upgrade',
  'proxy-connection',
  'host',
  'forwarded',
  'via',
  'max-forwards',
  'origin',
  'expect',
  'range',
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'www-authenticate',
  'authentication-info',
  'proxy-authentication-info',
  'cookie',
  'set-cookie',
  'content-type',
  'content-encoding',
  'content-range',
  'content-location',
  'cache-control',
  'pragma',
  'age',
  'expires',
  'date',
  'location',
  'retry-after',
  'vary',
  'warning',
  'idempotency-key',
  'traceparent',
  'tracestate',
]);
const FORBIDDEN_PREFIXES = [
  'if-',
  'x-forwarded-',
  'x-real-ip',
  'x-request-id',
  'x-user-',
  'x-lyceum-',
  'access-control-',
];

/** Also with an underscore, which is a hyphen to a CGI-minded reader. */
const isForbiddenTrailer = (name: string): boolean =>
  FORBIDDEN_TRAILERS.has(name) ||
  name.includes('_') ||
  FORBIDDEN_PREFIXES.some((prefix) => name.startsWith(prefix));
