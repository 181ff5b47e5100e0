import type { ClientRequest, IncomingMessage } from 'node:http';
import { Problem } from '../../shared/errors.ts';
import type { GatewayTimings } from '../config.ts';

/** The client went away; nobody is left to be answered. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}
/** The upstream took nothing of the body for too long. */
export class UpstreamStalled extends Error {
  override readonly name = 'UpstreamStalled';
}

const tooLarge = (limit: number): Problem => new Problem('too-large', `At most ${limit} bytes.`);

/** Refuses by Content-Length, before a byte of the body is read. Throws `too-large`. */
export function checkDeclaredLength(request: IncomingMessage, limit: number): void {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
}

/**
 * Reads a body of at most `limit` bytes. A client that dribbles holds no upstream connection meanwhile. Throws
 * `too-large`, `request-timeout` after `ms`, or ClientGone.
 */
export function readWhole(request: IncomingMessage, limit: number, ms: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const finish = (error: Error | undefined): void => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('close', onGone);
      if (error) reject(error);
      else resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.byteLength;
      if (size > limit) finish(tooLarge(limit));
      else chunks.push(chunk);
    };
    const onEnd = (): void => finish(undefined);
    const onGone = (): void => finish(new ClientGone());
    const timer = setTimeout(() => finish(new Problem('request-timeout')), ms);
    request.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
}

/** How often the upload rate is looked at within its window. */
const TICKS = 6;

/**
 * Passes a body on as it comes, at the pace of the slower side. Throws `too-large`, `request-timeout` when the
 * client sends less than the least rate over the window, UpstreamStalled, or ClientGone. Resolves when the
 * upstream request is ended, or when `stop` resolves because the upstream has answered early.
 */
export function streamBody(
  request: IncomingMessage,
  upstream: ClientRequest,
  limit: number,
  timings: GatewayTimings,
  stop: Promise<unknown>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let size = 0;
    let done = false;
    let waitingSince = 0;
    const window: number[] = [];
    let tickStart = 0;

    const finish = (error?: Error): void => {
      if (done) return;
      done = true;
      clearInterval(watch);
      request.off('data', onData).off('end', onEnd).off('close', onGone);
      upstream.off('drain', onDrain);
      if (error) reject(error);
      else resolve();
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.byteLength;
      if (size > limit) {
        finish(tooLarge(limit));
      } else if (!upstream.write(chunk)) {
        waitingSince = performance.now();
        request.pause();
      }
    };
    const onDrain = (): void => {
      waitingSince = 0;
      request.resume();
    };
    const onEnd = (): void => {
      upstream.end();
      finish();
    };
    const onGone = (): void => finish(new ClientGone());

    const tickMs = timings.uploadWindowMs / TICKS;
    const watch = setInterval(() => {
      if (waitingSince > 0) {
        // Waiting for the upstream is not the client's fault: the window starts over.
        window.length = 0;
        tickStart = size;
        if (performance.now() - waitingSince > timings.stallMs) finish(new UpstreamStalled());
        return;
      }
      window.push(size - tickStart);
      tickStart = size;
      if (window.length > TICKS) window.shift();
      const least = (timings.uploadBytesPerSecond * timings.uploadWindowMs) / 1_000;
      if (window.length === TICKS && window.reduce((sum, bytes) => sum + bytes, 0) < least) {
        finish(new Problem('request-timeout', 'The upload was too slow for too long.'));
      }
    }, tickMs);

    upstream.on('drain', onDrain);
    request.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
    stop.then(
      () => finish(),
      () => finish(),
    );
  });
}
