/** WebSocket frames (RFC 6455, 5.2), as much of them as a relay must know. */

export const CLOSE = {
  goingAway: 1001,
  tooBig: 1009,
  serviceRestart: 1012,
  tryAgainLater: 1013,
  /** Our own: the client has not read for too long. */
  tooSlow: 4008,
} as const;

const OPCODE_CONTINUATION = 0x0;
const OPCODE_CLOSE = 0x8;

/**
 * Follows a byte stream of frames without keeping or copying it: knows when a frame has ended, so that one of ours
 * may be put in, and how large a message has become.
 */
export class FrameFollower {
  /** True between frames. */
  atBoundary = true;
  /** A close frame has passed: its sender sends nothing more (RFC 6455, 5.5.1). */
  sawClose = false;
  private readonly head = Buffer.alloc(14);
  private headBytes = 0;
  private payloadLeft = 0;
  private messageBytes = 0;

  constructor(private readonly maxMessageBytes: number) {}

  /** Takes the next bytes. False if a message is larger than allowed. */
  follow(chunk: Uint8Array): boolean {
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.payloadLeft > 0) {
        const skipped = Math.min(this.payloadLeft, chunk.byteLength - at);
        this.payloadLeft -= skipped;
        at += skipped;
        this.atBoundary = this.payloadLeft === 0;
        continue;
      }
      this.atBoundary = false;
      this.head[this.headBytes++] = chunk[at++]!;
      if (this.headBytes < 2 || this.headBytes < this.headLength()) continue;
      if (!this.beginPayload()) return false;
    }
    return true;
  }

  private headLength(): number {
    const length = this.head[1]! & 0x7f;
    return 2 + (length === 126 ? 2 : length === 127 ? 8 : 0) + (this.head[1]! & 0x80 ? 4 : 0);
  }

  private beginPayload(): boolean {
    const short = this.head[1]! & 0x7f;
    const length =
      short === 126
        ? this.head.readUInt16BE(2)
        : short === 127
          ? Number(this.head.readBigUInt64BE(2))
          : short;
    const opcode = this.head[0]! & 0x0f;
    this.headBytes = 0;
    this.payloadLeft = length;
    this.atBoundary = length === 0;
    if (opcode === OPCODE_CLOSE) this.sawClose = true;
    // Control frames may stand between the parts of a message and do not count to it.
    if (opcode >= OPCODE_CLOSE) return true;
    this.messageBytes = opcode === OPCODE_CONTINUATION ? this.messageBytes + length : length;
    return this.messageBytes <= this.maxMessageBytes;
  }
}

/** A close frame as a server sends it: unmasked, with a code and a reason of at most 123 bytes. */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason).subarray(0, 123);
  const frame = Buffer.alloc(4 + text.byteLength);
  frame[0] = 0x80 | OPCODE_CLOSE;
  frame[1] = 2 + text.byteLength;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}
