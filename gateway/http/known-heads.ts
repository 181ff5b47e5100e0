import { parseRequestHead, parseResponseHead, type RequestHead, type ResponseHead } from './head.ts';

/** Heads remembered at once, and how long one of them may be, in bytes: four MB at most, with what is read from them. */
const SLOTS = 1_024;
const LONGEST_BYTES = 2_048;
/** Bytes that are looked at to find out whether a head may be a known one. */
const SAMPLES = 32;
/** Of a request line, what is behind the target: a space, the version, the line break. */
const VERSION_BYTES = 11;

const SPACE = 32;
const DEL = 127;
const LF = 10;

interface Known<Head> {
  readonly bytes: Buffer;
  readonly head: Head;
}

/**
 * Header lines that come again and again: a client sends the same ones with every request, a service with many replies.
 * Byte for byte the same lines mean the same, so they are read once, and what is made of them for the other side is made
 * once (`reuse`), which saves about a tenth of a small request (docs/performance.md). A head is kept when it is met
 * a second time, in the place that its bytes choose, where it takes the place of another.
 *
 * Tokens are among these lines, as they are among those that the token check remembers; nothing of it leaves the process.
 */
class KnownHeads<Head> {
  private readonly kept: (Known<Head> | undefined)[] = new Array(SLOTS).fill(undefined);
  /** Hashes of those met last. */
  private readonly met = new Int32Array(SLOTS);

  /** `hash` is that of these bytes. */
  find(hash: number, bytes: Buffer, start: number, end: number): Head | undefined {
    const known = this.kept[hash & (SLOTS - 1)];
    // The samples only choose the place: what decides is that all bytes are the same.
    return known !== undefined && known.bytes.compare(bytes, start, end) === 0 ? known.head : undefined;
  }

  /** Keeps what `shared` gives, if the bytes are met for the second time. */
  meet(hash: number, bytes: Buffer, start: number, end: number, shared: () => Head): void {
    if (end - start > LONGEST_BYTES) return;
    const slot = hash & (SLOTS - 1);
    if (this.met[slot] === hash)
      this.kept[slot] = { bytes: Buffer.copyBytesFrom(bytes, start, end - start), head: shared() };
    this.met[slot] = hash;
  }
}

function hashOf(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  const step = Math.floor(length / SAMPLES) + 1;
  let hash = length;
  for (let index = start; index < end; index += step) hash = (Math.imul(hash, 31) + bytes[index]!) | 0;
  return hash ^ (hash >>> 15);
}

/** Reads the heads of requests; what follows the target may be known. */
export class RequestHeads {
  private readonly known = new KnownHeads<RequestHead>();

  /** The head that ends at `end`, blank line included. Throws BadHead. */
  read(bytes: Buffer, end: number): RequestHead {
    const linesStart = bytes.indexOf(LF) + 1 - VERSION_BYTES;
    const hash = hashOf(bytes, Math.max(0, linesStart), end);
    if (linesStart > 0) {
      const known = this.known.find(hash, bytes, linesStart, end);
      if (known !== undefined && hasPlainTarget(bytes, known.method.length, linesStart)) {
        const line = bytes.toString('latin1', 0, linesStart);
        const { method } = known;
        if (line.startsWith(method)) return withTarget(known, line.slice(method.length + 1));
      }
    }
    const head = parseRequestHead(bytes.toString('latin1', 0, end - 4));
    if (linesStart > 0 && head.upgrade === '')
      this.known.meet(hash, bytes, linesStart, end, () => withTarget({ ...head, reuse: {} }, ''));
    return head;
  }
}

/** A space behind the method, then visible ASCII up to `end`, one character at least; as `parseRequestHead` wants it. */
function hasPlainTarget(bytes: Buffer, methodEnd: number, end: number): boolean {
  if (bytes[methodEnd] !== SPACE || methodEnd + 1 >= end) return false;
  for (let index = methodEnd + 1; index < end; index++)
    if (bytes[index]! <= SPACE || bytes[index]! >= DEL) return false;
  return true;
}

// Field by field: a spread takes 60 ns, this a fraction of it.
const withTarget = (head: RequestHead, target: string): RequestHead => ({
  method: head.method,
  target,
  minor: head.minor,
  headers: head.headers,
  host: head.host,
  contentLength: head.contentLength,
  chunked: head.chunked,
  keepAlive: head.keepAlive,
  expectContinue: head.expectContinue,
  upgrade: head.upgrade,
  hopByHop: head.hopByHop,
  reuse: head.reuse,
});

/** Reads the heads of replies, of which all may be known. */
export class ResponseHeads {
  private readonly known = new KnownHeads<ResponseHead>();

  /** The head that ends at `end`, blank line included. Throws BadHead. */
  read(bytes: Buffer, end: number): ResponseHead {
    const hash = hashOf(bytes, 0, end);
    const known = this.known.find(hash, bytes, 0, end);
    if (known !== undefined) return copyOf(known);
    const head = parseResponseHead(bytes.toString('latin1', 0, end - 4));
    this.known.meet(hash, bytes, 0, end, () => ({ ...head, reuse: {} }));
    return head;
  }
}

/** Policies change the head of a reply. */
const copyOf = (head: ResponseHead): ResponseHead => ({
  status: head.status,
  reason: head.reason,
  minor: head.minor,
  headers: head.headers,
  contentLength: head.contentLength,
  chunked: head.chunked,
  keepAlive: head.keepAlive,
  upgrade: head.upgrade,
  hopByHop: head.hopByHop,
  reuse: head.reuse,
});
