import type { Attachment } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import type { ChatContext } from '../context.ts';
import { findFiles } from '../store/files.ts';
import type { RoomRow } from '../store/rooms.ts';

/**
 * What the files are called and how large they are. One may attach one's own files, and in a course's room the
 * course's. Throws `validation-failed` for any other, whether it exists or not.
 */
export async function readAttachments(
  context: ChatContext,
  room: RoomRow,
  wanted: { fileId: string }[],
): Promise<Attachment[]> {
  const ids = wanted.map(({ fileId }) => fileId.toLowerCase());
  const files = new Map((await findFiles(context.db, ids)).map((file) => [file.file_id, file]));
  const errors: { path: string; message: string }[] = [];
  const attachments = ids.flatMap((id, index) => {
    const file = files.get(id);
    const mine = file?.owner_id === context.caller.userId;
    const ofCourse =
      file?.course_id != null && file.course_id === room.course_id && file.visibility !== 'private';
    if (file?.usable && (mine || ofCourse))
      return [{ fileId: id, name: file.name, type: file.type, size: file.size }];
    errors.push({ path: `body.attachments.${index}.fileId`, message: 'no file that you may attach here' });
    return [];
  });
  if (errors.length > 0)
    throw new Problem('validation-failed', 'Not all attachments can be used.', { errors });
  return attachments;
}
