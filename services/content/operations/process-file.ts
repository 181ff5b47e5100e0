import { createHash } from 'node:crypto';
import type { ThumbnailSize } from '../../../shared/contracts/content.ts';
import { unavailable } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { newId } from '../../../shared/ids.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import type { MediaWorker, Picture } from '../processing/media-worker.ts';
import { doomLater, reprieve } from '../store/doomed-objects.ts';
import {
  type FileRow,
  findFile,
  insertThumbnails,
  lockFile,
  saveText,
  settleFile,
  type ThumbnailRow,
} from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { fileFacts } from './representations.ts';

/** What processing found out; written by `settle` in one transaction. */
export type Outcome =
  | { status: 'ready'; thumbnails?: ThumbnailRow[]; text?: string }
  | { status: 'rejected'; reason: string };

const MiB = 1024 * 1024;
const MAX_IMAGE = 50 * MiB;
const MAX_PDF = 100 * MiB;
const MAX_TEXT = 1 * MiB;
/** Seconds until thumbnails that no file took are removed. */
const ORPHAN_SECONDS = 900;

const IMAGES = new Set(['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/avif']);
const TEXTS = new Set(['text/markdown', 'text/plain', 'text/csv']);

/**
 * Looks into an uploaded file: thumbnails of pictures, text of PDFs and texts for search. Others, and larger ones,
 * are ready without being read. Resolves with undefined if the file is gone or done. Rejects while a server is
 * away, and then nothing has happened.
 */
export async function examineFile(
  context: Context<ContentTables>,
  { objects, media }: { objects: ObjectStore; media: MediaWorker },
  fileId: string,
): Promise<Outcome | undefined> {
  const file = await findFile(context.db, fileId);
  if (file?.status !== 'processing') return undefined;
  const open = () => objects.get(file.object_key);
  if (IMAGES.has(file.type) && file.size <= MAX_IMAGE) {
    const result = await media.read('image', open);
    if ('rejected' in result) return { status: 'rejected', reason: result.rejected };
    if (!('pictures' in result)) throw new Error('the worker answered another question');
    return { status: 'ready', thumbnails: await storeThumbnails(context, objects, file, result.pictures) };
  }
  if (file.type === 'application/pdf' && file.size <= MAX_PDF) {
    const result = await media.read('pdf', open);
    if ('rejected' in result) return { status: 'rejected', reason: result.rejected };
    return { status: 'ready', text: 'text' in result ? storable(result.text) : '' };
  }
  if (TEXTS.has(file.type)) {
    const range = { start: 0, end: Math.min(file.size, MAX_TEXT) - 1 };
    return {
      status: 'ready',
      text: storable(await new Response(await objects.get(file.object_key, range)).text()),
    };
  }
  return { status: 'ready' };
}

/** Writes the outcome: status, thumbnails, text and event together. A file that has gone in the meantime keeps nothing. */
export async function settle(tx: Context<ContentTables>, fileId: string, outcome: Outcome): Promise<void> {
  const file = await lockFile(tx.db, fileId);
  if (file?.status !== 'processing') return;
  await settleFile(tx.db, fileId, outcome.status, outcome.status === 'rejected' ? outcome.reason : null);
  if (outcome.status === 'rejected') {
    await tx.publish('file.rejected', fileId, { ...fileFacts(file), reason: outcome.reason });
    return;
  }
  const thumbnails = outcome.thumbnails ?? [];
  const kept = await reprieve(
    tx.db,
    thumbnails.map((thumbnail) => thumbnail.object_key),
  );
  if (!kept) throw unavailable('The thumbnails', new Error('swept before they were taken'));
  await insertThumbnails(tx.db, thumbnails);
  if (outcome.text) await saveText(tx.db, fileId, outcome.text);
  await tx.publish('file.processed', fileId, fileFacts(file));
}

/** Puts the pictures in the object store; their keys are doomed until `settle` takes them. */
async function storeThumbnails(
  context: Context<ContentTables>,
  objects: ObjectStore,
  file: FileRow,
  pictures: Record<ThumbnailSize, Picture>,
): Promise<ThumbnailRow[]> {
  const rows = Object.entries(pictures).map(([size, picture]) => ({
    picture,
    row: {
      file_id: file.id,
      size: size as ThumbnailSize,
      object_key: `thumbnails/${file.id.slice(-2)}/${newId()}`,
      type: 'image/webp',
      bytes: picture.bytes.byteLength,
      width: picture.width,
      height: picture.height,
      sha256: createHash('sha256').update(picture.bytes).digest('hex'),
    },
  }));
  await doomLater(
    context.db,
    rows.map(({ row }) => row.object_key),
    ORPHAN_SECONDS,
  );
  for (const { row, picture } of rows) {
    await objects.put(row.object_key, new Blob([new Uint8Array(picture.bytes)]).stream(), {
      contentType: row.type,
    });
  }
  return rows.map(({ row }) => row);
}

/** PostgreSQL keeps no NUL and no half surrogates. */
const storable = (text: string): string => text.slice(0, MAX_TEXT).replaceAll('\u0000', ' ').toWellFormed();
