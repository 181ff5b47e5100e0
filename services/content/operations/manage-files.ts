import type { Page } from '../../../shared/contracts/common.ts';
import type { File } from '../../../shared/contracts/content.ts';
import { notFound } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { toPage } from '../../../shared/http/cursor.ts';
import type { ObjectStore } from '../../../shared/ports/object-store.ts';
import { doomNow } from '../store/doomed-objects.ts';
import { deleteFile, listFiles, lockFile } from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { readableCourse } from './course-access.ts';
import { idCursor } from './cursors.ts';
import { removeSoon } from './discard-objects.ts';
import { managedFile, readableFile } from './file-access.ts';
import { fileFacts, toFile } from './representations.ts';

/** What a file is; its bytes are another route. */
export async function readFile(context: Context<ContentTables>, fileId: string): Promise<File> {
  return toFile((await readableFile(context, fileId)).file);
}

/** The files of a course as far as the caller may read them, or without one the caller's own; newest first. */
export async function findFiles(
  context: Context<ContentTables>,
  query: {
    courseId?: string | undefined;
    q?: string | undefined;
    limit: number;
    cursor?: string | undefined;
  },
): Promise<Page<File>> {
  const view = query.courseId === undefined ? undefined : await readableCourse(context, query.courseId);
  const rows = await listFiles(context.db, {
    courseId: query.courseId,
    ownerId: context.caller.userId,
    learnersView: view !== undefined && !view.manages,
    q: query.q,
    before: idCursor(query.cursor),
    limit: query.limit + 1,
  });
  return toPage(rows, query.limit, (row) => [row.id], toFile);
}

/** Removes a file, from the lessons that have it as well; its objects follow. `check` sees it as it is (If-Match). */
export async function removeFile(
  context: Context<ContentTables>,
  objects: ObjectStore,
  input: { fileId: string; check?: (current: File) => void },
): Promise<void> {
  await context.transaction(async (tx) => {
    await managedFile(tx, input.fileId);
    const file = await lockFile(tx.db, input.fileId);
    if (!file) throw notFound('file');
    input.check?.(toFile(file));
    await doomNow(tx.db, await deleteFile(tx.db, file));
    await tx.publish('file.deleted', file.id, fileFacts(file));
    tx.afterCommit(() => removeSoon(context, objects));
  });
}
