import type { Kysely, Selectable } from 'kysely';
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
