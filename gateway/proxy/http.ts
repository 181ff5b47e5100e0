import { Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { Problem, unavailable } from '../../shared/errors.ts';
import type { GatewayTimings } from '../config.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { ClientGone, checkDeclaredLength, readWhole, streamBody, UpstreamStalled } from './body.ts';
import { type HeaderLines, replyHeaders, requestHeaders } from './headers.ts';
import { relayReply } from './reply.ts';
import type { UpstreamAddress, UpstreamPool } from './upstreams.ts';

/** What the proxy needs to know about where a request goes. */
export interface ProxyRule {
  body: 'json' | 'stream';
  /** Bytes. */
  bodyLimit: number;
  /** Milliseconds; the default is in the timings. */
  firstByteMs?: number;
}

export interface HttpProxy {
  /** Answers the exchange from the pool. Throws a Problem, or ClientGone when nobody is left to answer. */
  forward(exchange: Exchange, rule: ProxyRule, pool: UpstreamPool): Promise<void>;
  close(): void;
}

/**
 * A streaming reverse proxy on keep-alive connections. It uses `node:http` for the upstream side too, because Bun's
 * fetch has at most 256 requests under way in a process: as many slow downloads would stop every other call.
 */
export function createHttpProxy(timings: GatewayTimings, metrics: GatewayMetrics): HttpProxy {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 256, scheduling: 'lifo' });

  async function forward(exchange: Exchange, rule: ProxyRule, pool: UpstreamPool): Promise<void> {
    exchange.upstream = pool.name;
    checkDeclaredLength(exchange.request, rule.bodyLimit);
    const streams = rule.body === 'stream' && exchange.hasBody;
    let whole: Buffer | undefined;
    if (exchange.hasBody && !streams) {
      exchange.sendContinue();
      whole = await readWhole(exchange.request, rule.bodyLimit, timings.jsonBodyMs);
    }
    const gone = abortOnGone(exchange);
    try {
      const headers = (address: UpstreamAddress): HeaderLines => ({
        ...requestHeaders(exchange, address.host),
        ...lengthOf(exchange, whole, streams),
      });
      const reply = await firstAnswer(exchange, pool, rule, headers, whole, streams, gone.signal);
      await relayReply(exchange, reply, replyHeaders(exchange, reply), timings).catch((error) => {
        metrics.upstreamFailures.inc({
          upstream: pool.name,
          kind: error instanceof UpstreamStalled ? 'stalled' : 'broken',
        });
        throw error;
      });
    } finally {
      gone.stop();
    }
  }

  /** The reply of the first replica that takes the request. */
  async function firstAnswer(
    exchange: Exchange,
    pool: UpstreamPool,
    rule: ProxyRule,
    headers: (address: UpstreamAddress) => HeaderLines,
    whole: Buffer | undefined,
    streams: boolean,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const repeatable = (exchange.method === 'GET' || exchange.method === 'HEAD') && !exchange.hasBody;
    // One extra try on the same address: a kept connection may have been closed as we took it.
    const order = pool.order();
    const candidates = repeatable ? [...order, order[0]!] : order;
    let last: unknown;
    for (const address of candidates) {
      if (signal.aborted) throw new ClientGone();
      const upstream = httpRequest({
        agent,
        host: address.hostname,
        port: address.port,
        method: exchange.method,
        path: exchange.path + exchange.query,
        headers: headers(address),
      });
      // Errors have their listeners below; this one keeps a late one from ending the process.
      upstream.on('error', () => {});
      const onGone = (): void => void upstream.destroy();
      signal.addEventListener('abort', onGone, { once: true });
      try {
        await connected(upstream, timings.connectMs);
        pool.markUp(address);
        return await exchangeWith(exchange, upstream, rule, whole, streams, timings);
      } catch (error) {
        upstream.destroy();
        if (signal.aborted) throw new ClientGone();
        if (error instanceof Problem || error instanceof ClientGone) {
          if (error instanceof Problem)
            metrics.upstreamFailures.inc({ upstream: pool.name, kind: 'timeout' });
          throw error;
        }
        last = error;
        metrics.upstreamFailures.inc({
          upstream: pool.name,
          kind: error instanceof NotConnected ? 'connect' : 'broken',
        });
        if (error instanceof NotConnected) pool.markDown(address);
        else if (!repeatable) {
          throw new Problem(
            'bad-gateway',
            'The connection broke before an answer came. The request may have been carried out.',
            {
              cause: error,
            },
          );
        }
      } finally {
        signal.removeEventListener('abort', onGone);
        if (signal.aborted) upstream.destroy();
      }
    }
    throw unavailable(`The ${pool.name} service`, last, 1);
  }

  return { forward, close: () => agent.destroy() };
}

/** No connection came about, so no byte of the request was sent: any request may go elsewhere. */
class NotConnected extends Error {
  override readonly name = 'NotConnected';
}

function connected(upstream: ClientRequest, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (error?: Error): void => {
      clearTimeout(timer);
      upstream.off('error', onError);
      if (error) reject(error);
      else resolve();
    };
    const onError = (error: Error): void => finish(new NotConnected(error.message, { cause: error }));
    const timer = setTimeout(() => finish(new NotConnected(`no connection within ${ms} ms`)), ms);
    upstream.once('error', onError);
    upstream.once('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => finish());
      else finish();
    });
  });
}

/** Sends the request over its connection and waits for the head of the reply. */
async function exchangeWith(
  exchange: Exchange,
  upstream: ClientRequest,
  rule: ProxyRule,
  whole: Buffer | undefined,
  streams: boolean,
  timings: GatewayTimings,
): Promise<IncomingMessage> {
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    upstream.once('response', resolve);
    upstream.once('error', reject);
    upstream.once('close', () => reject(new Error('closed without an answer')));
  });
  answered.catch(() => {});
  if (streams) {
    exchange.sendContinue();
    await streamBody(exchange.request, upstream, rule.bodyLimit, timings, answered).catch((error) => {
      throw error instanceof UpstreamStalled ? new Problem('upstream-timeout') : error;
    });
  } else {
    upstream.end(whole);
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Problem('upstream-timeout')),
      rule.firstByteMs ?? timings.firstByteMs,
    );
  });
  try {
    const reply = await Promise.race([answered, late]);
    // Answered before the body was sent: the connection is half-way through a request and of no more use.
    if (!upstream.writableEnded) reply.once('close', () => upstream.destroy());
    return reply;
  } finally {
    clearTimeout(timer);
  }
}

/** How the body we send is framed: always by us, never by a header that came in. */
function lengthOf(exchange: Exchange, whole: Buffer | undefined, streams: boolean): HeaderLines {
  if (streams) {
    const declared = exchange.request.headers['content-length'];
    return declared === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': declared };
  }
  const bodiless = exchange.method === 'GET' || exchange.method === 'HEAD';
  return bodiless ? {} : { 'content-length': String(whole?.byteLength ?? 0) };
}

/** Aborts when the client's connection is gone before its reply is complete. */
function abortOnGone(exchange: Exchange): { signal: AbortSignal; stop(): void } {
  const abort = new AbortController();
  const onClose = (): void => {
    if (!exchange.response.writableFinished) abort.abort();
  };
  if (exchange.response.destroyed) abort.abort();
  exchange.response.once('close', onClose);
  return { signal: abort.signal, stop: () => exchange.response.off('close', onClose) };
}
