import { type Selectable, sql } from 'kysely';
import type { FileStatus, ThumbnailSize } from '../../../shared/contracts/content.ts';
import { likePattern } from '../../../shared/db/like-pattern.ts';
import type { ContentTables, Db } from './tables.ts';

export type FileRow = Omit<Selectable<ContentTables['files']>, 'processed_at'> & { has_thumbnails: boolean };

const files = (db: Db) =>
  db
    .selectFrom('files')
    .select([
      'files.id',
      'files.name',
      'files.size',
      'files.type',
      'files.sha256',
      'files.status',
      'files.rejected_reason',
      'files.visibility',
      'files.course_id',
      'files.owner_id',
      'files.object_key',
      'files.created_at',
      sql<boolean>`exists (select 1 from thumbnails where thumbnails.file_id = files.id)`.as(
        'has_thumbnails',
      ),
    ]);

export async function findFile(db: Db, id: string): Promise<FileRow | undefined> {
  return await files(db).where('files.id', '=', id).executeTakeFirst();
}

export async function findFiles(db: Db, ids: string[]): Promise<FileRow[]> {
  if (ids.length === 0) return [];
  return await files(db).where('files.id', 'in', ids).execute();
}

export async function insertFile(db: Db, file: Omit<FileRow, 'has_thumbnails'>): Promise<void> {
  const { has_thumbnails: _, ...values } = { ...file, has_thumbnails: false };
  await db
    .insertInto('files')
    .values({ ...values, processed_at: null })
    .execute();
}

/** The file's row, held until the transaction ends; undefined if it is gone. */
export async function lockFile(db: Db, id: string): Promise<FileRow | undefined> {
  await db.selectFrom('files').select('id').where('id', '=', id).forUpdate().execute();
  return await findFile(db, id);
}

export async function settleFile(
  db: Db,
  id: string,
  status: FileStatus,
  reason: string | null,
): Promise<void> {
  await db
    .updateTable('files')
    .set({ status, rejected_reason: reason, processed_at: new Date() })
    .where('id', '=', id)
    .execute();
}

/** Removes the row with all that hangs on it. Resolves with the keys of its objects. */
export async function deleteFile(db: Db, file: FileRow): Promise<string[]> {
  const derived = await db
    .selectFrom('thumbnails')
    .select('object_key')
    .where('file_id', '=', file.id)
    .execute();
  await db.deleteFrom('files').where('id', '=', file.id).execute();
  return [file.object_key, ...derived.map((row) => row.object_key)];
}

export interface FileFilter {
  /** Files of this course… */
  courseId?: string | undefined;
  /** …or, without one, of this owner. */
  ownerId: string;
  /** Only what learners may see (and the owner's own). */
  learnersView: boolean;
  q?: string | undefined;
  before?: string | undefined;
  limit: number;
}

/** Newest first. `q` is looked for in names and in the text that was read out of the files. */
export async function listFiles(db: Db, filter: FileFilter): Promise<FileRow[]> {
  const { courseId, ownerId, learnersView, q, before, limit } = filter;
  let select = files(db).orderBy('files.id', 'desc').limit(limit);
  select =
    courseId === undefined
      ? select.where('owner_id', '=', ownerId)
      : select.where('course_id', '=', courseId);
  if (learnersView) {
    select = select.where(
      sql<boolean>`(files.owner_id = ${ownerId} or (files.visibility in ('course', 'public') and files.status <> 'rejected'))`,
    );
  }
  if (q !== undefined) {
    select = select.where(
      sql<boolean>`(files.name ilike ${likePattern(q)} or exists (select 1 from file_texts
        where file_texts.file_id = files.id and file_texts.words @@ websearch_to_tsquery('simple'::regconfig, ${q})))`,
    );
  }
  if (before !== undefined) select = select.where('files.id', '<', before);
  return await select.execute();
}

// ---- files of lessons

export async function setLessonFiles(db: Db, lessonId: string, fileIds: string[]): Promise<void> {
  await db.deleteFrom('lesson_files').where('lesson_id', '=', lessonId).execute();
  if (fileIds.length === 0) return;
  await db
    .insertInto('lesson_files')
    .values(fileIds.map((fileId, index) => ({ lesson_id: lessonId, file_id: fileId, position: index + 1 })))
    .execute();
}

export async function filesOfLessons(db: Db, lessonIds: string[]): Promise<Map<string, FileRow[]>> {
  const byLesson = new Map<string, FileRow[]>(lessonIds.map((id) => [id, []]));
  if (lessonIds.length === 0) return byLesson;
  const rows = await files(db)
    .innerJoin('lesson_files', 'lesson_files.file_id', 'files.id')
    .select('lesson_files.lesson_id')
    .where('lesson_files.lesson_id', 'in', lessonIds)
    .orderBy('lesson_files.position')
    .execute();
  for (const { lesson_id, ...file } of rows) byLesson.get(lesson_id)?.push(file);
  return byLesson;
}

// ---- what processing makes of files

export interface ThumbnailRow {
  file_id: string;
  size: ThumbnailSize;
  object_key: string;
  type: string;
  bytes: number;
  width: number;
  height: number;
  sha256: string;
}

export async function findThumbnail(
  db: Db,
  fileId: string,
  size: ThumbnailSize,
): Promise<ThumbnailRow | undefined> {
  return await db
    .selectFrom('thumbnails')
    .selectAll()
    .where('file_id', '=', fileId)
    .where('size', '=', size)
    .executeTakeFirst();
}

export async function insertThumbnails(db: Db, rows: ThumbnailRow[]): Promise<void> {
  if (rows.length > 0) await db.insertInto('thumbnails').values(rows).execute();
}

export async function saveText(db: Db, fileId: string, body: string): Promise<void> {
  await db
    .insertInto('file_texts')
    .values({ file_id: fileId, body })
    .onConflict((conflict) => conflict.column('file_id').doUpdateSet({ body }))
    .execute();
}
