import { Client } from 'minio';
import { notFound, Problem, unavailable } from '../../errors.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { chunksOf } from './body.ts';
import { partsOf } from './multipart.ts';
import { type Deadlines, problemOf, s3Calls } from './s3-calls.ts';

/** Milliseconds. */
const CONTROL_MS = 5_000;
/** MinIO lets a delete wait until nobody is in the middle of reading the object. */
const DELETE_MS = 15_000;
/** Putting many parts together takes a server its time. */
const COMPLETE_MS = 60_000;
/** Milliseconds without a byte after which a download is given up. */
const IDLE_MS = 30_000;
/** What a transfer of so many bytes may take: 5 s and half a MiB a second. */
const transferMs = (bytes: number): number => CONTROL_MS + bytes / 512;
/** Seconds for which a signed address is good. */
const SIGNED_S = 3_600;

/**
 * An S3 bucket; nothing beyond the S3 API is used. The client signs, makes and ends uploads; the bytes go by
 * `fetch` over signed addresses, which has back-pressure and can be aborted. An upload holds two parts at most
 * (8 MiB each up to 16 GiB): one on its way while the next fills. The bucket is made in the background, again and
 * again while S3 is away. While it is, calls reject with 503 `upstream-unavailable` within 5 s.
 */
export async function openMinio(options: {
  url: string;
  accessKey: string;
  secretKey: string;
  bucket: string;
  region?: string;
  log: { warn(fields: object, text: string): void };
}): Promise<ObjectStore> {
  const { bucket, log, region = 'us-east-1' } = options;
  const url = new URL(options.url);
  const useSSL = url.protocol === 'https:';
  const calls = s3Calls(useSSL);
  const client = new Client({
    endPoint: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || (useSSL ? 443 : 80)),
    useSSL,
    accessKey: options.accessKey,
    secretKey: options.secretKey,
    region,
    transport: calls.transport,
    retryOptions: { disableRetry: true },
  });
  const control = <T>(call: () => Promise<T>, ms = CONTROL_MS, signal?: AbortSignal): Promise<T> =>
    calls.run(call, { ms, signal });

  let made: Promise<void> | undefined;
  let closed = false;
  const ensureBucket = (): Promise<void> => {
    made ??= control(async () => {
      if (await client.bucketExists(bucket)) return;
      await client.makeBucket(bucket, region).catch((error: { code?: string }) => {
        if (error.code !== 'BucketAlreadyOwnedByYou' && error.code !== 'BucketAlreadyExists') throw error;
      });
    }).catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
  const keepTrying = (wait: number): void => {
    ensureBucket().catch((error: unknown) => {
      if (closed) return;
      log.warn({ err: error, bucket }, 'object store: not reachable yet');
      setTimeout(() => keepTrying(Math.min(wait * 2, 5_000)), wait).unref?.();
    });
  };
  keepTrying(500);

  const upload = async (
    method: 'PUT',
    key: string,
    bytes: Uint8Array<ArrayBuffer>,
    query: Record<string, string>,
    deadlines: Deadlines,
    type?: string,
  ) => {
    const address = await client.presignedUrl(method, bucket, key, SIGNED_S, query);
    const response = await calls.fetch(
      address,
      { method, body: bytes, ...(type ? { headers: { 'content-type': type } } : {}) },
      deadlines,
    );
    await response.arrayBuffer();
    return response.headers.get('etag')?.replaceAll('"', '') ?? '';
  };

  const abandon = async (key: string, uploadId: string): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await control(() => client.abortMultipartUpload(bucket, key, uploadId));
      } catch (error) {
        if (
          (error as { code?: string }).code === 'NoSuchUpload' ||
          (error instanceof Problem && error.code === 'not-found')
        )
          return;
        if (attempt === 3)
          return log.warn({ err: error, key }, 'object store: an interrupted upload is left behind');
        await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
      }
    }
  };

  return {
    async put(key, body, { contentType = 'application/octet-stream', signal } = {}) {
      let uploadId: string | undefined;
      let onItsWay: Promise<unknown> | undefined;
      const failed = new AbortController();
      const stop = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
      try {
        await ensureBucket();
        const etags: { part: number; etag: string }[] = [];
        let size = 0;
        for await (const { number, bytes, last } of partsOf(chunksOf(body, stop))) {
          size += bytes.byteLength;
          const deadlines = { ms: transferMs(bytes.byteLength), signal: stop };
          if (number === 1 && last) {
            await upload('PUT', key, bytes, {}, deadlines, contentType);
            return { size };
          }
          uploadId ??= await control(
            () => client.initiateNewMultipartUpload(bucket, key, { 'content-type': contentType }),
            CONTROL_MS,
            stop,
          );
          const query = { partNumber: String(number), uploadId };
          await onItsWay;
          onItsWay = upload('PUT', key, bytes, query, deadlines).then((etag) =>
            etags.push({ part: number, etag }),
          );
          // Looked at again before the next part; ends a body that is slow to come.
          onItsWay.catch((error: unknown) => failed.abort(error));
        }
        await onItsWay;
        await control(() => client.completeMultipartUpload(bucket, key, uploadId!, etags), COMPLETE_MS, stop);
        return { size };
      } catch (error) {
        failed.abort(error);
        await onItsWay?.catch(() => {});
        if (!body.locked) await body.cancel(error).catch(() => {});
        if (uploadId !== undefined) await abandon(key, uploadId);
        throw error;
      }
    },
    async get(key, range) {
      const address = await client.presignedUrl('GET', bucket, key, SIGNED_S);
      const headers: Record<string, string> = range ? { range: `bytes=${range.start}-${range.end}` } : {};
      const abort = new AbortController();
      const response = await calls.fetch(address, { headers }, { ms: CONTROL_MS, signal: abort.signal });
      return withIdleLimit(response, abort);
    },
    async size(key) {
      try {
        return (await control(() => client.statObject(bucket, key))).size;
      } catch (error) {
        if (error instanceof Problem && error.code === 'not-found') return undefined;
        throw error;
      }
    },
    async delete(key) {
      await control(() => client.removeObject(bucket, key), DELETE_MS).catch((error: unknown) => {
        if (!(error instanceof Problem && error.code === 'not-found')) throw error;
      });
      for (;;) {
        const uploadId = await control(() => client.findUploadId(bucket, key)).catch((error: unknown) => {
          if (error instanceof Problem && error.code === 'not-found') return undefined;
          throw error;
        });
        if (uploadId === undefined) return;
        await control(() => client.abortMultipartUpload(bucket, key, uploadId));
      }
    },
    async ready() {
      await ensureBucket();
      if (!(await control(() => client.bucketExists(bucket)))) {
        made = undefined;
        throw unavailable('The file store', new Error(`Bucket ${bucket} is gone`));
      }
    },
    async close() {
      closed = true;
    },
  };
}

/** The body of a response as the reader asks for it; cancelling it, or `IDLE_MS` of silence, drops the connection. */
function withIdleLimit(response: Response, abort: AbortController): ReadableStream<Uint8Array> {
  if (response.status === 404) throw notFound('object');
  const reader = response.body?.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (!reader) return controller.close();
        const timer = setTimeout(
          () => abort.abort(unavailable('The file store', new Error('The download stalled'))),
          IDLE_MS,
        );
        try {
          const { value, done } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (error) {
          controller.error(problemOf(abort.signal.aborted ? abort.signal.reason : error));
        } finally {
          clearTimeout(timer);
        }
      },
      async cancel(reason) {
        await reader?.cancel(reason).catch(() => {});
        abort.abort(reason);
      },
    },
    { highWaterMark: 0 },
  );
}
