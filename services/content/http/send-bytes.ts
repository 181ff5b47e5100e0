import { randomBytes } from 'node:crypto';
import { Problem } from '../../../shared/errors.ts';
import { matchesEtag } from '../../../shared/http/etag.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import { type ByteRange, parseRange } from './ranges.ts';

/** Bytes to be sent, and what to say about them. */
export interface Sendable {
  objectKey: string;
  name: string;
  type: string;
  size: number;
  sha256: string;
  modifiedAt: Date;
}

/** Types that a browser may show in place: none of them can run anything. */
const INLINE =
  /^(image\/(jpeg|png|webp|gif|avif)|application\/pdf|video\/[a-z0-9.+-]+|audio\/[a-z0-9.+-]+|text\/plain)$/;

/**
 * GET or HEAD of stored bytes: preconditions in the order of RFC 9110, 13.2.2, then ranges. What is served was
 * uploaded by somebody, so it never runs as part of this site: no sniffing, sandboxed, attached unless harmless.
 */
export async function sendBytes(
  request: Request,
  objects: ObjectStore,
  file: Sendable,
  { download }: { download: boolean },
): Promise<Response> {
  const etag = `"${file.sha256}"`;
  const lastModified = file.modifiedAt.toUTCString();
  const headers: Record<string, string> = {
    etag,
    'last-modified': lastModified,
    'accept-ranges': 'bytes',
    // No coding on the way: ranges, lengths and tags are those of the bytes.
    'cache-control': 'private, no-cache, no-transform',
    vary: 'authorization',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
    'cross-origin-resource-policy': 'same-site',
    'content-disposition': disposition(
      download || !INLINE.test(file.type) ? 'attachment' : 'inline',
      file.name,
    ),
  };
  const outcome = precondition(request.headers, etag, lastModified);
  if (outcome === 304) return new Response(null, { status: 304, headers });
  if (outcome === 412) throw new Problem('precondition-failed');

  const type = file.type.startsWith('text/') ? `${file.type}; charset=utf-8` : file.type;
  const whole = { ...headers, 'content-type': type, 'content-length': String(file.size) };
  // Ranges are defined for GET only (14.2).
  if (request.method === 'HEAD') return new Response(null, { status: 200, headers: whole });

  const ranges = rangeApplies(request.headers, etag, lastModified)
    ? parseRange(request.headers.get('range'), file.size)
    : 'whole';
  if (ranges === 'unsatisfiable') {
    throw new Problem('range-not-satisfiable', undefined, {
      headers: { 'content-range': `bytes */${file.size}`, 'accept-ranges': 'bytes' },
    });
  }
  if (ranges === 'whole') {
    return new Response(await objects.get(file.objectKey), { status: 200, headers: whole });
  }
  const [first, second] = ranges;
  if (first && !second) {
    return new Response(await objects.get(file.objectKey, first), {
      status: 206,
      headers: {
        ...whole,
        'content-length': String(first.end - first.start + 1),
        'content-range': `bytes ${first.start}-${first.end}/${file.size}`,
      },
    });
  }
  const parts = multipart(ranges, file, type);
  return new Response(parts.stream(objects), {
    status: 206,
    headers: { ...headers, 'content-type': parts.type, 'content-length': String(parts.length) },
  });
}

/** What If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since come to. */
function precondition(headers: Headers, etag: string, lastModified: string): 304 | 412 | undefined {
  const modified = Date.parse(lastModified);
  const ifMatch = headers.get('if-match');
  const unmodifiedSince = Date.parse(headers.get('if-unmodified-since') ?? '');
  if (ifMatch !== null ? !matchesEtag(ifMatch, etag, false) : modified > unmodifiedSince) return 412;
  const ifNoneMatch = headers.get('if-none-match');
  const modifiedSince = Date.parse(headers.get('if-modified-since') ?? '');
  if (ifNoneMatch !== null ? matchesEtag(ifNoneMatch, etag, true) : modified <= modifiedSince) return 304;
  return undefined;
}

/** If-Range: the range counts only if the file is still what the caller has a part of (13.1.5). */
function rangeApplies(headers: Headers, etag: string, lastModified: string): boolean {
  const condition = headers.get('if-range')?.trim();
  return condition === undefined || condition === etag || condition === lastModified;
}

/** `multipart/byteranges` (14.6): the length is known beforehand, and one part at a time is opened. */
function multipart(ranges: ByteRange[], file: Sendable, type: string) {
  const boundary = `lyceum-${randomBytes(12).toString('hex')}`;
  const encoder = new TextEncoder();
  const heads = ranges.map((range, index) =>
    encoder.encode(
      `${index > 0 ? '\r\n' : ''}--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: bytes ${range.start}-${range.end}/${file.size}\r\n\r\n`,
    ),
  );
  const tail = encoder.encode(`\r\n--${boundary}--\r\n`);
  const length = ranges.reduce(
    (sum, range, index) => sum + heads[index]!.byteLength + range.end - range.start + 1,
    tail.byteLength,
  );

  async function* chunks(objects: ObjectStore): AsyncGenerator<Uint8Array> {
    for (const [index, range] of ranges.entries()) {
      yield heads[index]!;
      const reader = (await objects.get(file.objectKey, range)).getReader();
      let ended = false;
      try {
        for (;;) {
          const { done, value } = await reader.read();
          ended = done;
          if (done) break;
          yield value;
        }
      } finally {
        if (!ended) await reader.cancel().catch(() => {});
      }
    }
    yield tail;
  }

  return {
    type: `multipart/byteranges; boundary=${boundary}`,
    length,
    stream(objects: ObjectStore): ReadableStream<Uint8Array> {
      const iterator = chunks(objects);
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            const { done, value } = await iterator.next();
            if (done) controller.close();
            else controller.enqueue(value);
          },
          cancel: async () => void (await iterator.return(undefined)),
        },
        { highWaterMark: 0 },
      );
    },
  };
}

/** Content-Disposition with any name: plain for old readers, RFC 8187 for the rest (RFC 6266, appendix D). */
export function disposition(kind: 'inline' | 'attachment', name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${kind}; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
