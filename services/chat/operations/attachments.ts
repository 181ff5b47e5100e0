import type { Selectable } from 'kysely';
import type { Attachment } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatTables } from '../store/tables.ts';

export type FileFacts = Selectable<ChatTables['files']>;

/**
 * What the files are called and how large they are. One may attach one's own files, and in a course's room the
 * course's. Throws `validation-failed` for any other, whether it exists or not.
 */
export function checkedAttachments(
  wanted: { fileId: string }[],
  files: ReadonlyMap<string, FileFacts>,
  author: { id: string; courseId: string | null },
): Attachment[] {
  const errors: { path: string; message: string }[] = [];
  const attachments = wanted.flatMap(({ fileId }, index) => {
    const id = fileId.toLowerCase();
    const file = files.get(id);
    const mine = file?.owner_id === author.id;
    const ofCourse =
      file?.course_id != null && file.course_id === author.courseId && file.visibility !== 'private';
    if (file?.usable && (mine || ofCourse))
      return [{ fileId: id, name: file.name, type: file.type, size: file.size }];
    errors.push({ path: `body.attachments.${index}.fileId`, message: 'no file that you may attach here' });
    return [];
  });
  if (errors.length > 0)
    throw new Problem('validation-failed', 'Not all attachments can be used.', { errors });
  return attachments;
}

/**
 * Those that everybody in the room may see. A course's file attached elsewhere is seen by who is in the course: what
 * is sent to all connected clients alike goes without it.
 */
export const seenByAll = (
  attachments: Attachment[],
  files: ReadonlyMap<string, FileFacts>,
  roomCourseId: string | null,
): Attachment[] =>
  attachments.filter(({ fileId }) => {
    const file = files.get(fileId);
    return file && (file.visibility !== 'course' || file.course_id === roomCourseId);
  });
