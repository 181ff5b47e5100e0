/** S3's own limits: parts of at least 5 MiB except for the last, at most 10,000 of them. */
const FIRST_PART = 8 * 1024 * 1024;
const MAX_PARTS = 10_000;

/** Bytes of the part with this number, from 1: doubled after every 2,000, so that 484 GiB fit. */
export function partSize(number: number): number {
  if (number > MAX_PARTS) throw new RangeError('The object is too large for a multipart upload');
  return FIRST_PART * 2 ** Math.floor((number - 1) / 2_000);
}

export interface Part {
  number: number;
  bytes: Uint8Array<ArrayBuffer>;
  last: boolean;
}

/**
 * Cuts a body into parts; the last may be smaller, and the only one empty. A part's memory is used again for
 * the one after the next: whoever takes part n+1 must be done with part n when asking for n+2.
 */
export async function* partsOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Part> {
  const buffers: [Uint8Array<ArrayBuffer> | undefined, Uint8Array<ArrayBuffer> | undefined] = [
    undefined,
    undefined,
  ];
  const bufferFor = (number: number): Uint8Array<ArrayBuffer> => {
    const slot = (number % 2) as 0 | 1;
    if (buffers[slot]?.length !== partSize(number)) buffers[slot] = new Uint8Array(partSize(number));
    return buffers[slot]!;
  };
  let number = 1;
  let buffer = bufferFor(number);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.byteLength; ) {
      // Only when there is more: a body of exactly one part is one part.
      if (filled === buffer.length) {
        yield { number, bytes: buffer, last: false };
        buffer = bufferFor(++number);
        filled = 0;
      }
      const piece = chunk.subarray(at, at + buffer.length - filled);
      buffer.set(piece, filled);
      filled += piece.byteLength;
      at += piece.byteLength;
    }
  }
  yield { number, bytes: buffer.subarray(0, filled), last: true };
}
