import type { Readable } from 'node:stream';

/** How two processes talk over a pipe: each message is its length (4 bytes, little endian) and its bytes. */
export function frame(bytes: Uint8Array): Uint8Array {
  const framed = new Uint8Array(4 + bytes.byteLength);
  new DataView(framed.buffer).setUint32(0, bytes.byteLength, true);
  framed.set(bytes, 4);
  return framed;
}

/** Calls `onMessage` with each whole message that arrives. */
export function readFrames(stream: Readable, onMessage: (bytes: Buffer) => void): void {
  let chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.byteLength;
    while (size >= 4) {
      if (chunks[0]!.byteLength < 4) chunks = [Buffer.concat(chunks)];
      const length = chunks[0]!.readUInt32LE(0);
      if (size < 4 + length) return;
      const whole = Buffer.concat(chunks);
      chunks = [whole.subarray(4 + length)];
      size = chunks[0]!.byteLength;
      onMessage(whole.subarray(4, 4 + length));
    }
  });
}
