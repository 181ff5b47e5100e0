import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import busboy from 'busboy';
import { FileName } from '../../../shared/contracts/content.ts';
import { Problem } from '../../../shared/errors.ts';
import { validate } from '../../../shared/http/body.ts';

/** The file in a request: its bytes, and how to know at the end that all of them came. */
export interface UploadBody {
  bytes: ReadableStream<Uint8Array>;
  /** The name that the form gives. */
  name: () => string | undefined;
  verify: (sha256: Uint8Array) => void;
}

/** Opens the body of an upload: the file itself, or a form with one file. Throws on headers that make no sense. */
export function openUpload(request: Request): UploadBody {
  const expected = contentDigest(request.headers.get('content-digest'));
  const encoding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding !== 'identity') {
    throw new Problem('unsupported-media-type', 'Send the file as it is, without Content-Encoding.');
  }
  const body = (request.body as ReadableStream<Uint8Array> | null) ?? emptyStream();
  const declared = request.headers.get('content-length');
  const type = request.headers.get('content-type') ?? '';
  return /^multipart\/form-data\b/i.test(type)
    ? openForm(body, type, declared, expected)
    : {
        bytes: complete(body, declared, () => {}),
        name: () => undefined,
        verify: (sha256) => compare(expected, sha256),
      };
}

const emptyStream = () => new ReadableStream<Uint8Array>({ start: (controller) => controller.close() });

function compare(expected: Uint8Array | undefined, actual: Uint8Array): void {
  if (expected && Buffer.compare(expected, actual) !== 0) throw new Problem('digest-mismatch');
}

/** The stream, which errors if it ends before `declared` bytes (Content-Length). `see` gets each chunk. */
function complete(
  source: ReadableStream<Uint8Array>,
  declared: string | null,
  see: (chunk: Uint8Array) => void,
): ReadableStream<Uint8Array> {
  const reader = source.getReader();
  let size = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) {
          if (declared !== null && Number(declared) !== size) {
            throw new Problem('validation-failed', 'The body did not arrive whole.');
          }
          return controller.close();
        }
        size += value.byteLength;
        see(value);
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason).catch(() => {}),
    },
    { highWaterMark: 0 },
  );
}

/**
 * `multipart/form-data` (RFC 7578) with one part, the file. The parser is fed only as fast as its file is read.
 * A Content-Digest is that of the whole form (RFC 9530, 2: it covers the content as sent).
 */
function openForm(
  body: ReadableStream<Uint8Array>,
  type: string,
  declared: string | null,
  expected: Uint8Array | undefined,
): UploadBody {
  const hash = createHash('sha256');
  const content = complete(body, declared, (chunk) => hash.update(chunk));
  const parser = openParser(type);
  let name: string | undefined;
  let failure: unknown;
  const fail = (error: unknown) => {
    failure ??= error;
    parser.destroy();
    foundFile.reject(failure);
  };
  const foundFile = Promise.withResolvers<Readable>();
  foundFile.promise.catch(() => {});
  let files = 0;

  parser.on('file', (field, file, info) => {
    files++;
    file.on('error', () => {}); // told by the parser, too
    try {
      if (field !== 'file' || files > 1) throw malformed('The form must have one file, in the field "file".');
      name = info.filename === undefined ? undefined : validate(FileName, info.filename, 'filename');
      foundFile.resolve(file);
    } catch (error) {
      file.resume();
      fail(error);
    }
  });
  parser.on('field', () =>
    fail(malformed('The form must have one file, in the field "file", and nothing else.')),
  );
  parser.on('error', () => fail(malformed('The form is not valid or not whole.')));

  const parsed = feed(content, parser).then(
    () => foundFile.reject(failure ?? malformed('The form has no file.')),
    (error: unknown) => {
      fail(failure ?? error);
      throw failure;
    },
  );
  parsed.catch(() => {});

  let chunks: AsyncIterator<Uint8Array> | undefined;
  return {
    name: () => name,
    verify: () => compare(expected, hash.digest()),
    bytes: new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          try {
            chunks ??= (await foundFile.promise)[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
            const { done, value } = await chunks.next();
            if (failure) throw failure;
            if (!done) return controller.enqueue(value);
            await parsed; // what stands behind the file counts, too
            if (failure) throw failure;
            controller.close();
          } catch (error) {
            // A file that breaks off is the parser's failure, if the parser has told it.
            await parsed.catch(() => {});
            throw failure ?? error;
          }
        },
        cancel: (reason) => fail(reason ?? new Error('cancelled')),
      },
      { highWaterMark: 0 },
    ),
  };
}

const malformed = (detail: string): Problem => new Problem('validation-failed', detail);

function openParser(type: string): busboy.Busboy {
  try {
    return busboy({
      headers: { 'content-type': type },
      preservePath: true, // a path is refused, not quietly cut
      defParamCharset: 'utf8',
      limits: { fields: 1, fieldSize: 1024, headerPairs: 50 },
    });
  } catch {
    throw malformed('The form has no valid boundary.');
  }
}

/** Writes all of `content` to the parser, at the parser's pace; resolves when it has parsed all of it. */
async function feed(content: ReadableStream<Uint8Array>, parser: busboy.Busboy): Promise<void> {
  const closed = new Promise<void>((resolve) => parser.once('close', resolve));
  const reader = content.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || parser.destroyed) break;
      if (!parser.write(value)) {
        await Promise.race([new Promise<void>((resolve) => parser.once('drain', resolve)), closed]);
      }
    }
    if (!parser.destroyed) parser.end();
    await closed;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The SHA-256 in a Content-Digest, a dictionary of byte sequences (RFC 9530, 2; RFC 8941, 3.2); undefined if it
 * names other algorithms only. Throws `validation-failed` on anything else.
 */
export function contentDigest(header: string | null): Uint8Array | undefined {
  if (header === null) return undefined;
  let sha256: Uint8Array | undefined;
  for (const member of header.split(',')) {
    const match = /^[ \t]*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):[ \t]*$/.exec(member);
    const bytes = match ? Buffer.from(match[2]!, 'base64') : undefined;
    if (!match || !bytes || (match[1] === 'sha-256' && bytes.byteLength !== 32)) {
      throw malformed('Content-Digest must look like "sha-256=:<base64>:" (RFC 9530).');
    }
    if (match[1] === 'sha-256') sha256 = bytes;
  }
  return sha256;
}
