import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ThumbnailSize } from '../../../shared/contracts/content.ts';
import { ChildFailure, ChildWorker } from '../../../shared/runtime/child.ts';

export interface MediaJob {
  kind: 'image' | 'pdf';
  /** A copy of the file, on this machine. */
  path: string;
}

export interface Picture {
  bytes: Uint8Array;
  width: number;
  height: number;
}

/** What opening a file gave; `rejected` says in words for people why it could not be opened. */
export type MediaResult =
  | { rejected: string }
  | { pictures: Record<ThumbnailSize, Picture> }
  | { text: string };

export interface MediaWorker {
  /** Rejects only for reasons that are not the file's: the store is away, this process stops. */
  read(kind: MediaJob['kind'], open: () => Promise<ReadableStream<Uint8Array>>): Promise<MediaResult>;
  stop(): void;
}

/**
 * Opens files in a child process, one at a time, with a bound on time and memory: a bomb or a file that crashes
 * the reader ends as `rejected`, and the next file gets a fresh process. The bytes go through a temporary file, so
 * that neither process holds more than it must.
 */
export function createMediaWorker(): MediaWorker {
  const worker = new ChildWorker<MediaJob, MediaResult>({
    script: new URL('./worker.ts', import.meta.url),
    timeoutMs: 30_000,
    maxRssBytes: 768 * 1024 * 1024,
    idleMs: 60_000,
  });

  async function run(job: MediaJob): Promise<MediaResult> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await worker.run(job);
      } catch (error) {
        if (!(error instanceof ChildFailure)) throw error;
        // Somebody may have killed the process over nothing: the file is to blame if it happens again.
        if (error.kind === 'crashed' && attempt < 2) continue;
        const why = {
          timeout: 'took too long',
          memory: 'needs too much memory',
          crashed: 'failed',
          refused: 'failed',
        };
        return { rejected: `Opening the file ${why[error.kind]}.` };
      }
    }
  }

  return {
    async read(kind, open) {
      const folder = await mkdtemp(join(tmpdir(), 'lyceum-media-'));
      try {
        const path = join(folder, 'file');
        await copy(await open(), path);
        return await run({ kind, path });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    stop: () => worker.stop(),
  };
}

async function copy(source: ReadableStream<Uint8Array>, path: string): Promise<void> {
  const target = createWriteStream(path, { mode: 0o600 });
  const failed = new Promise<never>((_, reject) => target.once('error', reject));
  failed.catch(() => {});
  const reader = source.getReader();
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), failed]);
      if (done) break;
      if (!target.write(value)) await Promise.race([once(target, 'drain'), failed]);
    }
    target.end();
    await Promise.race([once(target, 'close'), failed]);
  } finally {
    target.destroy();
    await reader.cancel().catch(() => {});
  }
}
