import { createHash } from 'node:crypto';
import { fileTypeFromBuffer } from 'file-type';
import { FILE_MAX_BYTES } from '../../../shared/contracts/content.ts';
import { Problem } from '../../../shared/errors.ts';

/** Bytes at the beginning that are enough to tell a type. */
const HEAD = 16 * 1024;
/** Milliseconds that an upload may stand still. */
const STALL_MS = 60_000;

/** Texts have no magic bytes: valid UTF-8 without NUL, and the name says which kind. */
const TEXT_TYPES: Record<string, string> = {
  md: 'text/markdown',
  markdown: 'text/markdown',
  txt: 'text/plain',
  text: 'text/plain',
  log: 'text/plain',
  csv: 'text/csv',
  json: 'application/json',
  html: 'text/html',
  htm: 'text/html',
  css: 'text/css',
  svg: 'image/svg+xml',
  xml: 'application/xml',
  vtt: 'text/vtt',
  srt: 'application/x-subrip',
};

export interface Measured {
  size: number;
  sha256(): Uint8Array;
  /** Media type, by magic bytes or as text; `application/octet-stream` otherwise. After the last byte. */
  type(): Promise<string>;
  /** What the stream ended with, if it did not end well. */
  failure: Problem | undefined;
}

/**
 * Passes a stream on, chunk by chunk as it is read, and takes size, SHA-256 and type of it. Errors with
 * `too-large`, `request-timeout` after a minute without a byte, and what the source errors with.
 */
export function measure(
  source: ReadableStream<Uint8Array>,
  name: () => string,
): { stream: ReadableStream<Uint8Array>; result: Measured } {
  const reader = source.getReader();
  const hash = createHash('sha256');
  const head: Uint8Array[] = [];
  let headSize = 0;
  let digest: Uint8Array | undefined;
  let text: TextCheck | undefined;

  const result: Measured = {
    size: 0,
    failure: undefined,
    sha256() {
      digest ??= hash.digest();
      return digest;
    },
    async type() {
      const known = await fileTypeFromBuffer(Buffer.concat(head)).catch(() => undefined);
      const asText = text?.valid() ? TEXT_TYPES[extension(name())] : undefined;
      if (asText === 'image/svg+xml' && known?.mime === 'application/xml') return asText;
      return known?.mime ?? asText ?? 'application/octet-stream';
    },
  };

  const take = (chunk: Uint8Array): void => {
    result.size += chunk.byteLength;
    if (result.size > FILE_MAX_BYTES) throw new Problem('too-large', `At most ${FILE_MAX_BYTES} bytes.`);
    hash.update(chunk);
    text ??= new TextCheck(extension(name()) in TEXT_TYPES);
    text.add(chunk);
    if (headSize < HEAD) {
      const part = chunk.slice(0, HEAD - headSize);
      head.push(part);
      headSize += part.byteLength;
    }
  };

  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await withinStallTime(reader.read());
          if (done) return controller.close();
          take(value);
          controller.enqueue(value);
        } catch (error) {
          result.failure = error instanceof Problem ? error : broken(error);
          controller.error(result.failure);
          await reader.cancel(result.failure).catch(() => {});
        }
      },
      cancel: (reason) => reader.cancel(reason).catch(() => {}),
    },
    { highWaterMark: 0 },
  );
  return { stream, result };
}

const broken = (cause: unknown): Problem =>
  new Problem('validation-failed', 'The body did not arrive whole.', { cause });

const extension = (name: string): string => /\.([a-z0-9]{1,10})$/i.exec(name)?.[1]?.toLowerCase() ?? '';

async function withinStallTime<T>(read: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stall = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Problem('request-timeout')), STALL_MS);
  });
  try {
    return await Promise.race([read, stall]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a stream is UTF-8 text, chunk by chunk; looks no further than the first fault. */
class TextCheck {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  #valid: boolean;

  constructor(candidate: boolean) {
    this.#valid = candidate;
  }

  add(chunk: Uint8Array): void {
    if (!this.#valid) return;
    try {
      this.#decoder.decode(chunk, { stream: true });
      this.#valid = !chunk.includes(0);
    } catch {
      this.#valid = false;
    }
  }

  valid(): boolean {
    try {
      if (this.#valid) this.#decoder.decode();
    } catch {
      this.#valid = false;
    }
    return this.#valid;
  }
}
