import { randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import type { TestPlatform } from '../support/platform.ts';

/** A WebSocket client made by hand, which can do what no library would. */
export interface RawSocket {
  tcp: Socket;
  /** The head of the reply, and then the text of all that came. */
  heard(): string;
  bytesHeard(): number;
  /** A frame as RFC 6455, 5.2 wants it, unless told otherwise. */
  frame(payload: string | Uint8Array, options?: { opcode?: number; masked?: boolean; first?: number }): void;
  /** Resolves when the other side has closed. */
  closed: Promise<void>;
}

const TEXT = 0x1;

export async function openRawSocket(
  platform: TestPlatform,
  path = '/socket.io/?EIO=4&transport=websocket',
): Promise<RawSocket> {
  const tcp = connectTcp(Number(new URL(platform.url).port), '127.0.0.1');
  let heard = '';
  let bytesHeard = 0;
  tcp.on('error', () => {});
  const closed = new Promise<void>((resolve) => tcp.once('close', () => resolve()));
  await new Promise<void>((resolve) => tcp.once('connect', () => resolve()));
  tcp.write(
    `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
  );
  const answered = new Promise<void>((resolve) => tcp.once('data', () => resolve()));
  tcp.on('data', (chunk: Buffer) => {
    bytesHeard += chunk.byteLength;
    if (heard.length < 100_000) heard += chunk.toString('latin1');
  });
  await Promise.race([answered, closed]);
  return {
    tcp,
    closed,
    heard: () => heard,
    bytesHeard: () => bytesHeard,
    frame(payload, { opcode = TEXT, masked = true, first = 0x80 | opcode } = {}) {
      const bytes = Buffer.from(payload as string);
      const size = bytes.byteLength;
      const head = Buffer.alloc(size < 126 ? 2 : size < 65_536 ? 4 : 10);
      head[0] = first;
      head[1] = (masked ? 0x80 : 0) | (size < 126 ? size : size < 65_536 ? 126 : 127);
      if (head.byteLength === 4) head.writeUInt16BE(size, 2);
      if (head.byteLength === 10) head.writeBigUInt64BE(BigInt(size), 2);
      // A mask of zeros leaves the payload as it is.
      if (!tcp.destroyed) tcp.write(Buffer.concat([head, Buffer.alloc(masked ? 4 : 0), bytes]));
    },
  };
}
