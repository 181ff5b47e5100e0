import { type Kysely, type Selectable, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

/** Keeps the newest facts about a file; a deleted or rejected one stays so. */
export async function keepFile(db: Kysely<ChatTables>, file: Selectable<ChatTables['files']>): Promise<void> {
  const { file_id, ...facts } = file;
  await db
    .insertInto('files')
    .values({ file_id, ...facts })
    .onConflict((conflict) =>
      conflict.column('file_id').doUpdateSet(facts).where('files.changed_at', '<=', facts.changed_at),
    )
    .execute();
}

export function findFiles(
  db: Kysely<ChatTables>,
  fileIds: string[],
): Promise<Selectable<ChatTables['files']>[]> {
  if (fileIds.length === 0) return Promise.resolve([]);
  return db.selectFrom('files').selectAll().where('file_id', 'in', fileIds).execute();
}

/**
 * Which of the files attached in a room a reader may see: none that was deleted or rejected, and of a course's
 * only who is in the course now. In the course's own room that is everybody, administrators who look in as well.
 */
export async function visibleFiles(
  db: Kysely<ChatTables>,
  attached: { fileId: string; roomId: string }[],
  viewerId: string | undefined,
): Promise<Set<string>> {
  if (attached.length === 0) return new Set();
  const viewer = viewerId ?? null;
  const { rows } = await sql<{ file_id: string; room_id: string }>`
    select a.file_id, a.room_id
    from unnest(${attached.map(({ fileId }) => fileId)}::uuid[], ${attached.map(({ roomId }) => roomId)}::uuid[])
      as a (file_id, room_id)
    join files f on f.file_id = a.file_id and f.usable
    join rooms r on r.id = a.room_id
    left join courses c on c.course_id = f.course_id
    where f.visibility <> 'course' or f.course_id = r.course_id or f.owner_id = ${viewer}::uuid
      or c.teacher_id = ${viewer}::uuid
      or exists (select 1 from enrolments e
        where e.course_id = f.course_id and e.user_id = ${viewer}::uuid and e.active)`.execute(db);
  return new Set(rows.map((row) => `${row.room_id} ${row.file_id}`));
}
