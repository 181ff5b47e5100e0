import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { getDocumentProxy } from 'unpdf';
import { answerParent } from '../../../shared/runtime/child-side.ts';
import type { MediaJob, MediaResult, Picture } from './media-worker.ts';

/** Runs in a process of its own (see media-worker.ts): opens files of unknown origin. */

const MAX_PIXELS = 50_000_000;
const MAX_PAGES = 500;
const MAX_TEXT = 1_048_576;
const SIZES = { small: 160, medium: 480, large: 1200 } as const;

sharp.cache(false);
sharp.concurrency(1);
// Only the decoders of the formats we take: libvips has many more, each a surface for attacks.
sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif'].map((name) => `VipsForeignLoad${name}Buffer`),
});

answerParent<MediaJob, MediaResult>(async ({ kind, path }) => {
  const bytes = await readFile(path);
  return kind === 'image' ? await thumbnails(bytes) : await textOfPdf(bytes);
});

/** Three sizes, upright, without metadata (sharp writes none unless told). A picture is never enlarged. */
async function thumbnails(bytes: Buffer): Promise<MediaResult> {
  try {
    const image = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: 'error' });
    const { width, height, pageHeight } = await image.metadata();
    if (width * (pageHeight ?? height) > MAX_PIXELS)
      return { rejected: 'The picture has more than 50 megapixels.' };
    const pictures: Record<string, Picture> = {};
    for (const [name, side] of Object.entries(SIZES)) {
      const { data, info } = await image
        .clone()
        .autoOrient()
        .resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true })
        .webp({ quality: 80 })
        .toBuffer({ resolveWithObject: true });
      pictures[name] = { bytes: data, width: info.width, height: info.height };
    }
    return { pictures };
  } catch (error) {
    const tooLarge = /pixel limit|exceeds/i.test(String(error));
    return { rejected: tooLarge ? 'The picture has more than 50 megapixels.' : 'The picture is broken.' };
  }
}

/** The words of the first 500 pages, at most 1 MiB. A PDF with a password is a good file without readable text. */
async function textOfPdf(bytes: Buffer): Promise<MediaResult> {
  try {
    const document = await getDocumentProxy(new Uint8Array(bytes));
    let text = '';
    for (
      let number = 1;
      number <= Math.min(document.numPages, MAX_PAGES) && text.length < MAX_TEXT;
      number++
    ) {
      const page = await document.getPage(number);
      const { items } = await page.getTextContent();
      for (const item of items) {
        if ('str' in item) text += item.str + (item.hasEOL ? '\n' : ' ');
      }
      text += '\n';
      page.cleanup();
    }
    return { text };
  } catch (error) {
    if ((error as Error)?.name === 'PasswordException') return { text: '' };
    return { rejected: 'The PDF is broken.' };
  }
}
