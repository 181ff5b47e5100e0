import { type Kysely, sql } from 'kysely';
import type { AnalyticsTables } from './tables.ts';

/** What is known of a file. Rejected or deleted once is so for ever, in whatever order the news comes. */
export async function putFile(
  db: Kysely<AnalyticsTables>,
  file: { fileId: string; courseId: string | null; size: number },
  state: { rejected?: boolean; deleted?: boolean } = {},
): Promise<void> {
  await sql`
    insert into files as known (file_id, course_id, size, rejected, deleted)
    values (${file.fileId}, ${file.courseId}, ${file.size}, ${state.rejected ?? false}, ${state.deleted ?? false})
    on conflict (file_id) do update set
      rejected = known.rejected or excluded.rejected, deleted = known.deleted or excluded.deleted`.execute(
    db,
  );
}
