import { AsyncLocalStorage } from 'node:async_hooks';
import http from 'node:http';
import https from 'node:https';
import { isUnavailable, notFound, Problem, unavailable } from '../../errors.ts';

export interface Deadlines {
  /** Milliseconds until the answer's headers. */
  ms: number;
  signal?: AbortSignal | undefined;
}

export interface S3Calls {
  /** Give this to the client, so that calls made through `run` can be ended. */
  transport: Pick<typeof http, 'request'>;
  /** A call of the client, with a deadline for all of it, which the client itself doesn't have. */
  run<T>(call: () => Promise<T>, deadlines: Deadlines): Promise<T>;
  /** `fetch`, where any answer but success rejects as the client's calls do. */
  fetch(url: string, init: RequestInit, deadlines: Deadlines): Promise<Response>;
}

export function s3Calls(useSSL: boolean): S3Calls {
  const current = new AsyncLocalStorage<AbortSignal>();
  const { request } = useSSL ? https : http;
  const agent = useSSL ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true });

  const within = async <T>(
    { ms, signal }: Deadlines,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    const end = new AbortController();
    const abort = () => end.abort(signal?.reason);
    const timer = setTimeout(
      () => end.abort(unavailable('The file store', new Error(`No answer within ${ms} ms`))),
      ms,
    );
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort, { once: true });
    const ended = new Promise<never>((_, reject) => {
      if (end.signal.aborted) reject(end.signal.reason);
      end.signal.addEventListener('abort', () => reject(end.signal.reason), { once: true });
    });
    ended.catch(() => {});
    try {
      return await Promise.race([call(end.signal), ended]);
    } catch (error) {
      throw end.signal.aborted ? end.signal.reason : problemOf(error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  };

  return {
    transport: {
      request: ((options: https.RequestOptions, onResponse: (response: http.IncomingMessage) => void) => {
        const sent = request({ ...options, agent }, onResponse);
        const signal = current.getStore();
        const drop = () => sent.destroy(signal?.reason as Error);
        if (signal?.aborted) drop();
        signal?.addEventListener('abort', drop, { once: true });
        return sent;
      }) as typeof http.request,
    },
    run: (call, deadlines) => within(deadlines, (signal) => current.run(signal, call)),
    async fetch(url, init, deadlines) {
      // Past the headers only the caller's own signal ends it: a download takes as long as its reader.
      const timed = new AbortController();
      const all = deadlines.signal ? AbortSignal.any([timed.signal, deadlines.signal]) : timed.signal;
      const response = await within(deadlines, (signal) => {
        signal.addEventListener('abort', () => timed.abort(signal.reason), { once: true });
        return fetch(url, { ...init, redirect: 'error', signal: all });
      });
      if (response.ok) return response;
      const text = await response.text();
      const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? String(response.status);
      throw problemOf(
        Object.assign(new Error(`S3 answered ${response.status} ${code}`), { code, status: response.status }),
      );
    },
  };
}

/** S3 error codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList */
const MISSING = new Set(['NoSuchKey', 'NotFound', 'NoSuchBucket', 'NoSuchUpload', '404']);
const AWAY = new Set([
  'SlowDown',
  'ServiceUnavailable',
  'InternalError',
  'RequestTimeout',
  'XMinioServerNotInitialized',
  '500',
  '502',
  '503',
  '504',
]);

/** What went wrong, as the port says it: not found, out of range, or unavailable; all else as it is. */
export function problemOf(error: unknown): unknown {
  if (error instanceof Problem) return error;
  const { code, name, message } = error as { code?: unknown; name?: unknown; message?: unknown };
  if (MISSING.has(String(code))) return notFound('object');
  if (code === 'InvalidRange' || code === '416') return new Problem('range-not-satisfiable');
  const away =
    isUnavailable(error) ||
    AWAY.has(String(code)) ||
    /Retryable HTTP status|socket|connect|network|fetch failed/i.test(String(message));
  // fetch rejects with a bare TypeError when it can't connect (Deno), or with a code of the engine's own (Bun).
  return away || (name === 'TypeError' && code === undefined) ? unavailable('The file store', error) : error;
}
