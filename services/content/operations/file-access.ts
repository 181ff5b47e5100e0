import { notFound, Problem } from '../../../shared/errors.ts';
import type { Context } from '../../../shared/http/context.ts';
import { findCourse } from '../store/courses.ts';
import { findEnrolment } from '../store/enrolments.ts';
import { type FileRow, findFile } from '../store/files.ts';
import type { ContentTables } from '../store/tables.ts';
import { manages } from './course-access.ts';

export interface FileRights {
  manage: boolean;
  read: boolean;
}

/**
 * Who may do what with a file. Managed by its owner, the teacher of its course and administrators. Read by these;
 * by anybody if it is public; by those enrolled if it is for the course, once the course is no draft. What was
 * rejected is read by those who manage it only.
 */
export async function fileRights(context: Context<ContentTables>, file: FileRow): Promise<FileRights> {
  const { db, maybeCaller: caller } = context;
  if (caller && (caller.userId === file.owner_id || caller.role === 'admin'))
    return { manage: true, read: true };
  const course = file.course_id === null ? undefined : await findCourse(db, file.course_id);
  if (course && manages(caller, course)) return { manage: true, read: true };
  if (file.status === 'rejected') return { manage: false, read: false };
  if (file.visibility === 'public') return { manage: false, read: true };
  if (!caller || !course || file.visibility !== 'course' || course.status === 'draft') {
    return { manage: false, read: false };
  }
  return { manage: false, read: (await findEnrolment(db, course.id, caller.userId)) !== undefined };
}

/** A file whose description the caller may read. Throws `not-found`. */
export async function readableFile(
  context: Context<ContentTables>,
  fileId: string,
): Promise<{ file: FileRow; rights: FileRights }> {
  const file = await findFile(context.db, fileId);
  if (!file) throw notFound('file');
  const rights = await fileRights(context, file);
  if (!rights.read) throw notFound('file');
  return { file, rights };
}

/** A file that the caller may change. Throws `not-found`, or `forbidden` where the caller may read it. */
export async function managedFile(context: Context<ContentTables>, fileId: string): Promise<FileRow> {
  const { file, rights } = await readableFile(context, fileId);
  if (!rights.manage) throw new Problem('forbidden', 'Only the owner of the file may do this.');
  return file;
}

/** A file whose bytes the caller may have: others than those who manage it wait until it has been looked at. */
export async function servableFile(context: Context<ContentTables>, fileId: string): Promise<FileRow> {
  const { file, rights } = await readableFile(context, fileId);
  if (!rights.manage && file.status !== 'ready') {
    throw new Problem('conflict', 'The file is still being looked at. Try again shortly.', { retryAfter: 1 });
  }
  return file;
}
