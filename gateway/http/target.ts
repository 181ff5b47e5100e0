import { BadHead } from './head.ts';

export const MAX_TARGET_BYTES = 8_192;

/** What a request is about, spelled so that the routing rule and the service see the same. */
export interface Target {
  path: string;
  /** As it came, with its question mark; or ''. */
  query: string;
}

const PERCENT = 37;
const DOT = 46;
const SLASH = 47;
const QUESTION = 63;

/** Per byte: what may stand in a path as it is. */
const PLAIN = 1;
/** Unreserved besides (RFC 3986, 2.3): means the same with and without an escape. */
const UNRESERVED = 2;
/** May stand in a query. */
const IN_QUERY = 4;
const KINDS = new Uint8Array(256);
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~')
  KINDS[character.charCodeAt(0)] = PLAIN | UNRESERVED | IN_QUERY;
// RFC 3986 wants brackets escaped here; no browser does it, and they mean nothing else in these places.
for (const character of "!$&'()*+,;=:@/[]") KINDS[character.charCodeAt(0)] = PLAIN | IN_QUERY;
for (const character of '?%') KINDS[character.charCodeAt(0)] = IN_QUERY;

/**
 * Splits an origin-form target and normalises its path, once (RFC 3986, 6.2.2): unreserved characters are unescaped,
 * the escapes that stay are in upper case, dot segments are removed. The query stays as it came. Throws BadHead for
 * every other form, for what RFC 3986 does not allow, and for what two readers may read differently: an empty segment
 * before the last, `..` above the root, an escaped slash, backslash or NUL.
 */
export function normaliseTarget(target: string): Target {
  const length = target.length;
  if (length > MAX_TARGET_BYTES) throw new BadHead(414, 'The target is too long.');
  if (target.charCodeAt(0) !== SLASH) throw invalid();
  let previous = SLASH;
  let position = 1;
  for (; position < length; position++) {
    const code = target.charCodeAt(position);
    if ((KINDS[code]! & PLAIN) === 0) break;
    // An empty or a dot segment begins here: rare enough to start over.
    if (previous === SLASH && (code === SLASH || code === DOT)) return normaliseSlowly(target);
    previous = code;
  }
  if (position === length) return { path: target, query: '' };
  const code = target.charCodeAt(position);
  if (code === PERCENT) return normaliseSlowly(target);
  if (code !== QUESTION) throw invalid();
  return { path: target.slice(0, position), query: checkedQuery(target, position) };
}

function normaliseSlowly(target: string): Target {
  const mark = target.indexOf('?');
  const query = mark < 0 ? '' : checkedQuery(target, mark);
  const segments: string[] = [];
  const raw = (mark < 0 ? target : target.slice(0, mark)).slice(1).split('/');
  const last = raw.length - 1;
  for (let index = 0; index <= last; index++) {
    const segment = unescaped(raw[index]!);
    if (segment === '' && index < last) throw invalid();
    if (segment === '.' || segment === '..') {
      if (segment === '..' && segments.pop() === undefined) throw invalid();
      // `/a/.` and `/a/b/..` are `/a/`.
      if (index === last) segments.push('');
    } else {
      segments.push(segment);
    }
  }
  return { path: `/${segments.join('/')}`, query };
}

function unescaped(segment: string): string {
  let text = '';
  let copied = 0;
  for (let index = 0; index < segment.length; index++) {
    const code = segment.charCodeAt(index);
    if (code !== PERCENT) {
      if ((KINDS[code]! & PLAIN) === 0) throw invalid();
      continue;
    }
    const byte = byteAt(segment, index);
    if (byte < 32 || byte === 127 || byte === SLASH || byte === 92) throw invalid();
    text += segment.slice(copied, index);
    text +=
      (KINDS[byte]! & UNRESERVED) !== 0
        ? String.fromCharCode(byte)
        : segment.slice(index, index + 3).toUpperCase();
    index += 2;
    copied = index + 1;
  }
  return copied === 0 ? segment : text + segment.slice(copied);
}

/** The byte that is escaped at the index. */
function byteAt(text: string, index: number): number {
  const high = hexValue(text.charCodeAt(index + 1));
  const low = hexValue(text.charCodeAt(index + 2));
  if (high < 0 || low < 0) throw invalid();
  return high * 16 + low;
}

function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function checkedQuery(target: string, mark: number): string {
  for (let index = mark + 1; index < target.length; index++) {
    if ((KINDS[target.charCodeAt(index)]! & IN_QUERY) === 0) throw invalid();
  }
  return target.slice(mark);
}

const invalid = (): BadHead => new BadHead(400, 'The target is not valid.');
