import sharp from 'sharp';
import { answerParent } from '../runtime/child-side.ts';
import type { DrawJob } from './draw-images.ts';

/** Runs in a process of its own (see draw-images.ts): decodes a picture of unknown origin and scales it. */

sharp.cache(false);
sharp.concurrency(1);
// Only the decoders of the formats we take: libvips has many more, each a surface for attacks.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif'].map((name) => `VipsForeignLoad${name}Buffer`),
});

answerParent(async ({ picture, maxPixels, outputs }: DrawJob) => {
  const images: Record<string, Uint8Array> = {};
  for (const { name, width, height, fit } of outputs) {
    images[name] = await sharp(picture, { limitInputPixels: maxPixels, failOn: 'error' })
      .autoOrient()
      .resize({ width, height, fit, withoutEnlargement: fit === 'inside' })
      .webp({ quality: 80 })
      .toBuffer();
  }
  return images;
});
