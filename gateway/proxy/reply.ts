import type { IncomingMessage } from 'node:http';
import type { GatewayTimings } from '../config.ts';
import type { Exchange } from '../exchange.ts';
import { ClientGone, UpstreamStalled } from './body.ts';

/**
 * Passes a reply on as it comes. The client is paused for by pausing the upstream, and cut off when it takes nothing
 * for `stallMs`. An upstream that breaks off or goes silent breaks the client's connection off too: a cut reply must
 * never look like a short one. Resolves when the reply is handed over; rejects after it has broken the connection.
 */
export function relayReply(
  exchange: Exchange,
  reply: IncomingMessage,
  headers: string[],
  timings: GatewayTimings,
): Promise<void> {
  const { response, request, method } = exchange;
  const status = reply.statusCode ?? 502;
  const unread = exchange.hasBody && !request.complete;
  response.writeHead(status, unread ? [...headers, 'connection', 'close'] : headers);
  if (method === 'HEAD' || status === 204 || status === 304) {
    reply.resume();
    if (unread) exchange.endAfterLingering();
    else response.end();
    return Promise.resolve();
  }

  const length =
    reply.headers['content-length'] === undefined ? Number.NaN : Number(reply.headers['content-length']);
  return new Promise((resolve, reject) => {
    let done = false;
    let waitingSince = 0;
    let lastAt = performance.now();
    const finish = (error?: Error): void => {
      if (done) return;
      done = true;
      clearInterval(watch);
      reply.off('data', onData).off('end', onEnd);
      response.off('drain', onDrain).off('close', onClientClose);
      if (!error) {
        resolve();
        return;
      }
      reply.destroy();
      response.destroy();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      exchange.bytesSent += chunk.byteLength;
      lastAt = performance.now();
      // The last piece goes out with the end: one packet instead of two for most replies.
      if (exchange.bytesSent === length && !unread) endWith(chunk);
      else if (!response.write(chunk)) {
        waitingSince = lastAt;
        reply.pause();
      }
    };
    const onDrain = (): void => {
      waitingSince = 0;
      lastAt = performance.now();
      reply.resume();
    };
    const endWith = (chunk?: Buffer): void => {
      if (chunk) response.end(chunk);
      else response.end();
      // What is still in our buffer has the same time to be taken as the rest had.
      const last = setTimeout(() => response.destroy(), timings.stallMs);
      last.unref?.();
      response.once('close', () => clearTimeout(last));
      finish();
      reply.resume();
    };
    const onEnd = (): void => {
      // `end` also comes before `aborted` on some paths; only a complete message may end ours cleanly.
      if (!reply.complete) {
        finish(new Error('the reply broke off'));
      } else if (unread) {
        exchange.endAfterLingering();
        finish();
      } else {
        endWith();
      }
    };
    const onClientClose = (): void => finish(new ClientGone());
    const watch = setInterval(
      () => {
        const now = performance.now();
        if (waitingSince > 0) {
          if (now - waitingSince > timings.stallMs) finish(new ClientGone('took nothing of the reply'));
        } else if (now - lastAt > timings.idleMs) finish(new UpstreamStalled());
      },
      Math.max(10, Math.min(timings.stallMs, timings.idleMs) / 4),
    );
    reply.on('data', onData).on('end', onEnd);
    reply.on('aborted', () => finish(new Error('the reply broke off')));
    reply.on('error', (error) => finish(error));
    reply.on('close', () => finish(reply.complete ? undefined : new Error('the reply broke off')));
    response.on('drain', onDrain).on('close', onClientClose);
  });
}
