import { Problem } from '../errors.ts';
import { ChildFailure, ChildWorker } from '../runtime/child.ts';

export interface DrawJob {
  picture: Uint8Array;
  maxPixels: number;
  outputs: DrawOutput[];
}

export interface DrawOutput {
  name: string;
  width: number;
  height: number;
  /** `cover` fills the box and cuts what stands over; `inside` fits into it and never enlarges. */
  fit: 'cover' | 'inside';
}

/** A 50 megapixel photograph decodes; a picture that unpacks to more is refused before it is unpacked. */
const MAX_PIXELS = 50_000_000;

export interface ImageDrawer {
  /** The outputs as WebP, upright and without metadata, by name. Throws `validation-failed` on what can't be drawn. */
  draw<N extends string>(
    picture: Uint8Array,
    outputs: (DrawOutput & { name: N })[],
  ): Promise<Record<N, Uint8Array>>;
  stop(): void;
}

/** Draws in a child process, because decoders of images crash and pictures can be made as bombs. */
export function createImageDrawer(): ImageDrawer {
  const worker = new ChildWorker<DrawJob, Record<string, Uint8Array>>({
    script: new URL('./image-child.ts', import.meta.url),
    timeoutMs: 15_000,
    maxRssBytes: 768 * 1024 * 1024,
    maxWaiting: 50,
  });
  return {
    async draw<N extends string>(picture: Uint8Array, outputs: (DrawOutput & { name: N })[]) {
      try {
        return (await worker.run({ picture, maxPixels: MAX_PIXELS, outputs })) as Record<N, Uint8Array>;
      } catch (error) {
        if (!(error instanceof ChildFailure)) throw error;
        const detail =
          error.kind === 'refused'
            ? 'The picture is broken or has too many pixels.'
            : 'The picture takes too much time or memory to open.';
        throw new Problem('validation-failed', detail, { cause: error });
      }
    },
    stop: () => worker.stop(),
  };
}
