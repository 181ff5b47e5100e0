import { type Kysely, sql } from 'kysely';
import type { ReportState } from '../../../shared/contracts/chat-moderation.ts';
import type { ChatTables } from './tables.ts';

export interface ReportRow {
  id: string;
  room_id: string;
  message_id: string;
  body: string;
  author_id: string;
  author_name: string | null;
  reporter_id: string;
  reporter_name: string | null;
  reason: string;
  state: ReportState;
  created_at: Date;
  decided_at: Date | null;
}

const reportRows = (db: Kysely<ChatTables>) =>
  db
    .selectFrom('reports as r')
    .innerJoin('messages as x', 'x.id', 'r.message_id')
    .leftJoin('people as a', 'a.user_id', 'x.author_id')
    .leftJoin('people as p', 'p.user_id', 'r.reporter_id')
    .select([
      'r.id',
      'r.room_id',
      'r.message_id',
      'x.body',
      'x.author_id',
      'a.display_name as author_name',
      'r.reporter_id',
      'p.display_name as reporter_name',
      'r.reason',
      'r.state',
      'r.created_at',
      'r.decided_at',
    ]);

/** False if this person has reported the message before. */
export async function insertReport(
  db: Kysely<ChatTables>,
  report: { id: string; roomId: string; messageId: string; reporterId: string; reason: string; at: Date },
): Promise<boolean> {
  const result = await db
    .insertInto('reports')
    .values({
      id: report.id,
      room_id: report.roomId,
      message_id: report.messageId,
      reporter_id: report.reporterId,
      reason: report.reason,
      state: 'open',
      created_at: report.at,
      decided_by: null,
      decided_at: null,
    })
    .onConflict((conflict) => conflict.columns(['message_id', 'reporter_id']).doNothing())
    .executeTakeFirst();
  return Number(result.numInsertedOrUpdatedRows ?? 0) > 0;
}

export const findReport = (db: Kysely<ChatTables>, id: string): Promise<ReportRow | undefined> =>
  reportRows(db).where('r.id', '=', id).executeTakeFirst();

export const findReportOf = (
  db: Kysely<ChatTables>,
  messageId: string,
  reporterId: string,
): Promise<ReportRow | undefined> =>
  reportRows(db)
    .where('r.message_id', '=', messageId)
    .where('r.reporter_id', '=', reporterId)
    .executeTakeFirst();

/** Oldest first, of one room or of all; one more than `limit` if there are more. */
export function listReports(
  db: Kysely<ChatTables>,
  options: { roomId?: string | undefined; state: ReportState; limit: number; after?: string | undefined },
): Promise<ReportRow[]> {
  let query = reportRows(db).where('r.state', '=', options.state);
  if (options.roomId) query = query.where('r.room_id', '=', options.roomId);
  if (options.after) query = query.where(sql<boolean>`r.id > ${options.after}::uuid`);
  return query
    .orderBy('r.id')
    .limit(options.limit + 1)
    .execute();
}

/** Decides every open report of a message. */
export async function decideReports(
  db: Kysely<ChatTables>,
  messageId: string,
  decision: { state: ReportState; by: string; at: Date },
): Promise<void> {
  await db
    .updateTable('reports')
    .set({ state: decision.state, decided_by: decision.by, decided_at: decision.at })
    .where('message_id', '=', messageId)
    .where('state', '=', 'open')
    .execute();
}
