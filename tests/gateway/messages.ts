/**
 * A reader of HTTP/1.1 messages for tests: strict, whole, and on purpose none of the gateway's own code. What it does
 * not take is malformed, whoever wrote it (RFC 9112).
 */

export type Fields = [name: string, value: string][];

interface Message {
  /** As it was sent, without its line break. */
  startLine: string;
  version: string;
  /** As they were sent, in their order. */
  headers: Fields;
  framing: 'none' | 'length' | 'chunked' | 'until-close';
  body: Buffer;
  trailers: Fields;
  /** All bytes of the message. */
  raw: Buffer;
}

export interface RequestMessage extends Message {
  method: string;
  target: string;
}

export interface ResponseMessage extends Message {
  status: number;
  reason: string;
}

export class Malformed extends Error {
  override readonly name = 'Malformed';
}

/** The value of the only header of that name; undefined if there is none. Two are malformed. */
export function only(fields: Fields, name: string): string | undefined {
  const found = valuesOf(fields, name);
  if (found.length > 1) throw new Malformed(`${name} came ${found.length} times`);
  return found[0];
}

export const valuesOf = (fields: Fields, name: string): string[] =>
  fields.filter(([given]) => given.toLowerCase() === name).map(([, value]) => value);

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) (HTTP\/1\.[01])$/;
const STATUS_LINE = /^(HTTP\/1\.[01]) ([1-9]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for just these
const NO_VALUE = /[\x00-\x08\x0a-\x1f\x7f]/;

/** The first request in the bytes, or undefined while it is not all there. Throws Malformed. */
export function readRequest(bytes: Buffer): RequestMessage | undefined {
  const head = readHead(bytes);
  if (!head) return undefined;
  const [, method, target, version] = REQUEST_LINE.exec(head.startLine) ?? [];
  if (!method || !target || !version) throw new Malformed(`request line ${JSON.stringify(head.startLine)}`);
  if (version === 'HTTP/1.1' && valuesOf(head.headers, 'host').length !== 1)
    throw new Malformed('not one Host');
  const { chunked, length } = framingOf(head.headers, version);
  const body = chunked ? readChunks(bytes, head.size) : readLength(bytes, head.size, length ?? 0);
  if (!body) return undefined;
  const framing = chunked ? 'chunked' : length === undefined ? 'none' : 'length';
  const { startLine, headers } = head;
  return { startLine, method, target, version, headers, framing, ...body, raw: bytes.subarray(0, body.end) };
}

/**
 * The first reply in the bytes, or undefined while it is not all there. `method` is of the request that it answers;
 * `ended`: no more bytes will come. Throws Malformed.
 */
export function readResponse(bytes: Buffer, method: string, ended: boolean): ResponseMessage | undefined {
  const head = readHead(bytes);
  if (!head) {
    if (ended && bytes.byteLength > 0) throw new Malformed('ended within a head');
    return undefined;
  }
  const [, version, code, reason] = STATUS_LINE.exec(head.startLine) ?? [];
  if (!version || !code) throw new Malformed(`status line ${JSON.stringify(head.startLine)}`);
  const status = Number(code);
  const { chunked, length } = framingOf(head.headers, version);
  const common = { startLine: head.startLine, version, status, reason: reason ?? '', headers: head.headers };
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  if ((status < 200 || status === 204) && (chunked || length !== undefined))
    throw new Malformed(`a ${status} with framing`);
  if (bodiless) {
    const raw = bytes.subarray(0, head.size);
    return { ...common, framing: 'none', body: Buffer.alloc(0), trailers: [], raw };
  }
  if (!chunked && length === undefined) {
    if (!ended) return undefined;
    const body = bytes.subarray(head.size);
    return { ...common, framing: 'until-close', body, trailers: [], raw: bytes };
  }
  const body = chunked ? readChunks(bytes, head.size) : readLength(bytes, head.size, length!);
  if (!body) {
    if (ended) throw new Malformed(`ended within the body of ${head.startLine}`);
    return undefined;
  }
  return { ...common, framing: chunked ? 'chunked' : 'length', ...body, raw: bytes.subarray(0, body.end) };
}

function readHead(bytes: Buffer): { startLine: string; headers: Fields; size: number } | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [startLine = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  return { startLine, headers: lines.map(readField), size: end + 4 };
}

function readField(line: string): [string, string] {
  const colon = line.indexOf(':');
  const name = line.slice(0, Math.max(colon, 0));
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
  if (!TOKEN.test(name) || NO_VALUE.test(value)) throw new Malformed(`header line ${JSON.stringify(line)}`);
  return [name, value];
}

function framingOf(headers: Fields, version: string): { chunked: boolean; length: number | undefined } {
  const coding = only(headers, 'transfer-encoding');
  const length = only(headers, 'content-length');
  if (coding !== undefined && (coding !== 'chunked' || version === 'HTTP/1.0' || length !== undefined))
    throw new Malformed(`Transfer-Encoding ${coding}, Content-Length ${length}, ${version}`);
  if (length !== undefined && !/^(0|[1-9]\d{0,15})$/.test(length))
    throw new Malformed(`Content-Length ${length}`);
  return { chunked: coding !== undefined, length: length === undefined ? undefined : Number(length) };
}

interface Body {
  body: Buffer;
  trailers: Fields;
  end: number;
}

function readLength(bytes: Buffer, from: number, length: number): Body | undefined {
  const end = from + length;
  return bytes.byteLength < end ? undefined : { body: bytes.subarray(from, end), trailers: [], end };
}

function readChunks(bytes: Buffer, from: number): Body | undefined {
  const pieces: Buffer[] = [];
  let at = from;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) {
      if (bytes.byteLength - at > 200) throw new Malformed('a chunk size without an end');
      return undefined;
    }
    const line = bytes.toString('latin1', at, lineEnd);
    const digits = /^([0-9A-Fa-f]{1,13})(;[\t\x20-\x7e\x80-\xff]*)?$/.exec(line)?.[1];
    if (digits === undefined) throw new Malformed(`chunk size ${JSON.stringify(line)}`);
    const size = Number.parseInt(digits, 16);
    at = lineEnd + 2;
    if (size === 0) break;
    if (bytes.byteLength < at + size + 2) return undefined;
    if (bytes[at + size] !== 13 || bytes[at + size + 1] !== 10)
      throw new Malformed('a chunk without its end');
    pieces.push(bytes.subarray(at, at + size));
    at += size + 2;
  }
  const trailers: Fields = [];
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const line = bytes.toString('latin1', at, lineEnd);
    at = lineEnd + 2;
    if (line === '') return { body: Buffer.concat(pieces), trailers, end: at };
    trailers.push(readField(line));
  }
}
