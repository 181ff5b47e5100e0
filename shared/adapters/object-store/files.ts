import * as fs from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { notFound, Problem } from '../../errors.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { chunksOf } from './body.ts';

/** Bytes per read of a download. */
const CHUNK = 256 * 1024;
/** No key leads here: `=` is encoded in keys. */
const UPLOADS = '=uploads';

// Plain descriptors for downloads: a FileHandle that is dropped without being closed is fatal to the process.
const openFile = promisify(fs.open);
const statFile = promisify(fs.fstat);
const readFile = promisify(fs.read);
/** Streams that nobody read to the end or cancelled. */
const abandoned = new FinalizationRegistry<number>((file) => fs.closeSync(file));

/**
 * Objects as files under `dir`, which one process uses at a time. An upload is written beside its place, synced
 * and renamed, so that an object is there whole or not at all; what a killed process left is removed here.
 */
export async function openFiles(dir: string): Promise<ObjectStore> {
  const uploads = join(dir, UPLOADS);
  await rm(uploads, { recursive: true, force: true });
  await mkdir(uploads, { recursive: true });

  return {
    async put(key, body, { signal } = {}) {
      const path = pathOf(dir, key);
      const temporary = join(uploads, crypto.randomUUID());
      try {
        const size = await write(temporary, chunksOf(body, signal));
        await mkdir(dirname(path), { recursive: true });
        signal?.throwIfAborted();
        await rename(temporary, path);
        await syncDirectory(dirname(path));
        return { size };
      } catch (error) {
        await rm(temporary, { force: true });
        await body.cancel(error).catch(() => {}); // when not even the temporary file could be made
        throw error;
      }
    },
    async get(key, range) {
      const file = await openFile(pathOf(dir, key), 'r').catch(missing);
      if (file === undefined) throw notFound('object');
      try {
        const { size } = await statFile(file);
        const start = range?.start ?? 0;
        const end = Math.min(range?.end ?? size - 1, size - 1);
        if (range && (start >= size || end < start)) throw new Problem('range-not-satisfiable');
        return read(file, start, end);
      } catch (error) {
        fs.closeSync(file);
        throw error;
      }
    },
    async size(key) {
      return (await stat(pathOf(dir, key)).catch(missing))?.size;
    },
    async delete(key) {
      await rm(pathOf(dir, key), { force: true });
    },
    async ready() {
      const probe = join(uploads, crypto.randomUUID());
      await (await open(probe, 'w')).close();
      await rm(probe);
    },
    async close() {},
  };
}

/**
 * Key `a/b` is file `<dir>/a/=b`: files and folders have different names, so `a` and `a/b` can both exist, and
 * no key escapes or reaches the uploads.
 */
export function pathOf(dir: string, key: string): string {
  const segments = key.split('/');
  if (segments.some((one) => one === '' || one === '.' || one === '..' || one.length > 80)) {
    throw new TypeError(`Not a key for an object: ${key.slice(0, 100)}`);
  }
  const names = segments.map(encodeURIComponent);
  return join(dir, ...names.slice(0, -1), `=${names.at(-1)}`);
}

async function write(path: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const file = await open(path, 'wx');
  try {
    let size = 0;
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
      size += chunk.byteLength;
    }
    await file.sync();
    return size;
  } finally {
    await file.close();
  }
}

function read(file: number, start: number, end: number): ReadableStream<Uint8Array> {
  let at = start;
  const close = () => {
    abandoned.unregister(stream);
    fs.closeSync(file);
  };
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let open = true;
        try {
          const buffer = new Uint8Array(Math.min(CHUNK, end - at + 1));
          const { bytesRead } =
            buffer.length > 0 ? await readFile(file, buffer, 0, buffer.length, at) : { bytesRead: 0 };
          at += bytesRead;
          if (bytesRead > 0) controller.enqueue(buffer.subarray(0, bytesRead));
          if (at <= end && bytesRead > 0) return;
          open = false;
          close();
          if (at <= end) controller.error(new Error('The file became shorter while it was read'));
          else controller.close();
        } catch (error) {
          if (open) close();
          controller.error(error);
        }
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  );
  abandoned.register(stream, file, stream);
  return stream;
}

/** A rename is durable once its folder is. */
async function syncDirectory(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    // Not every system can sync a folder.
    if (!['EISDIR', 'EINVAL', 'EPERM'].includes((error as { code?: string }).code ?? '')) throw error;
  } finally {
    await folder.close();
  }
}

function missing(error: { code?: string }): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}

/** For tests: how many uploads are under way or were left behind. */
export const uploadsIn = async (dir: string): Promise<number> => (await readdir(join(dir, UPLOADS))).length;
