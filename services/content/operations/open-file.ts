import type { ThumbnailSize } from '../../../shared/contracts/content.ts';
import { Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { type FileRow, findThumbnail } from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { readableFile, servableFile } from './file-access.ts';
import { linkedFile } from './link-file.ts';

/** Bytes that a caller may have: where they are, and what to say about them. They never change under their key. */
export interface Openable {
  objectKey: string;
  name: string;
  type: string;
  size: number;
  sha256: string;
  modifiedAt: Date;
}

/** A file's bytes, by the caller's right or by a link. Throws `not-found`, `forbidden`, `conflict`. */
export async function openFile(
  context: Context<ContentTables>,
  input: { fileId: string; expires?: string | undefined; signature?: string | undefined; linkKey: string },
): Promise<Openable> {
  const { fileId, expires, signature, linkKey: key } = input;
  const linked = expires !== undefined || signature !== undefined;
  const file = linked
    ? await linkedFile(context, { fileId, expires, signature, key })
    : await servableFile(context, fileId);
  return describe(file);
}

const describe = (file: FileRow): Openable => ({
  objectKey: file.object_key,
  name: file.name,
  type: file.type,
  size: file.size,
  sha256: file.sha256,
  modifiedAt: file.created_at,
});

/** A thumbnail, for whom may read the file. Throws `conflict` for a file that has none (yet). */
export async function openThumbnail(
  context: Context<ContentTables>,
  input: { fileId: string; size: ThumbnailSize },
): Promise<Openable> {
  const { file } = await readableFile(context, input.fileId);
  const thumbnail = await findThumbnail(context.db, input.fileId, input.size);
  if (!thumbnail) throw new Problem('conflict', 'The file has no thumbnails, or not yet.');
  return {
    objectKey: thumbnail.object_key,
    name: `${file.name}.${input.size}.webp`,
    type: thumbnail.type,
    size: thumbnail.bytes,
    sha256: thumbnail.sha256,
    modifiedAt: file.created_at,
  };
}
