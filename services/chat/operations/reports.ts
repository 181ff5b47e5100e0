import type { Report, ReportState } from '../../../shared/contracts/chat-moderation.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { notFound, Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext, ChatTools } from '../context.ts';
import { findMessage } from '../store/messages.ts';
import {
  decideReports,
  findReport,
  findReportOf,
  insertReport,
  listReports as listRows,
  type ReportRow,
} from '../store/reports.ts';
import { findRoom } from '../store/rooms.ts';
import { lockRooms } from '../store/sending.ts';
import { noteAudit } from './audit.ts';
import { bury } from './delete-message.ts';
import { memberRoom, messageInRoom, moderatedRoom } from './room-access.ts';

interface QueueInput {
  state: ReportState;
  limit: number;
  cursor?: string | undefined;
}

/**
 * A member tells the moderators of a message; each member once (`created: false`). Throws `not-found` for
 * strangers and `conflict` for what is deleted.
 */
export async function reportMessage(
  context: ChatContext,
  input: { messageId: string; reason: string },
): Promise<{ report: Report; created: boolean }> {
  return context.transaction(async (tx) => {
    const { message } = await messageInRoom(tx, input.messageId);
    const room = await memberRoom(tx, message.room_id);
    const reporterId = tx.caller.userId;
    const known = await findReportOf(tx.db, message.id, reporterId);
    if (known) return { report: toReport(known), created: false };
    if (message.deleted_at) throw new Problem('conflict', 'The message is deleted.');
    const report = {
      id: newId(),
      roomId: room.id,
      messageId: message.id,
      reporterId,
      reason: input.reason,
      at: new Date(),
    };
    // The room is locked, so nobody reports it twice at once.
    await insertReport(tx.db, report);
    return { report: toReport((await findReport(tx.db, report.id))!), created: true };
  });
}

/** The reports of a room, oldest first. For its moderators. */
export async function listRoomReports(
  context: ChatContext,
  input: QueueInput & { roomId: string },
): Promise<Page<Report>> {
  const room = await moderatedRoom(context, input.roomId);
  return pageOf(context, input, room.id);
}

/** The reports of all rooms, direct ones too, oldest first. The door lets administrators in only. */
export const listAllReports = (context: ChatContext, input: QueueInput): Promise<Page<Report>> =>
  pageOf(context, input, undefined);

async function pageOf(
  context: ChatContext,
  input: QueueInput,
  roomId: string | undefined,
): Promise<Page<Report>> {
  const after = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const rows = await listRows(context.db, { roomId, state: input.state, limit: input.limit, after });
  return toPage(rows, input.limit, (row) => [row.id], toReport);
}

/**
 * A moderator dismisses a report or deletes the message; all open reports of the message are decided with it. In
 * direct rooms administrators do that. Throws `not-found`, `forbidden`, and `conflict` once it is decided.
 */
export async function decideReport(
  context: ChatContext,
  tools: ChatTools,
  input: { reportId: string; decision: 'dismiss' | 'delete' },
): Promise<Report> {
  return context.transaction(async (tx) => {
    const report = await findReport(tx.db, input.reportId);
    if (!report) throw notFound('report');
    if (tx.caller.role !== 'admin') {
      await moderatedRoom(tx, report.room_id).catch((error: unknown) => {
        throw error instanceof Problem && error.code === 'not-found' ? notFound('report') : error;
      });
    }
    // Not `messageInRoom`: administrators decide reports from rooms that they may not read.
    await lockRooms(tx.db, [report.room_id]);
    const message = await findMessage(tx.db, report.message_id);
    const room = await findRoom(tx.db, report.room_id, tx.caller.userId);
    const current = await findReport(tx.db, report.id);
    if (!message || !room || current?.state !== 'open')
      throw new Problem('conflict', 'The report is decided.');
    const deleted = input.decision === 'delete';
    if (deleted) await bury(tx, tools, message, room);
    const state = deleted ? 'deleted' : 'dismissed';
    await decideReports(tx.db, message.id, { state, by: tx.caller.userId, at: new Date() });
    await noteAudit(tx, room.id, deleted ? 'report-upheld' : 'report-dismissed', {
      targetId: message.author_id,
      messageId: message.id,
      reason: report.reason,
    });
    return toReport((await findReport(tx.db, report.id))!);
  });
}

const toReport = (row: ReportRow): Report => ({
  id: row.id,
  roomId: row.room_id,
  messageId: row.message_id,
  body: row.body,
  author: { id: row.author_id, displayName: row.author_name ?? '' },
  reporter: { id: row.reporter_id, displayName: row.reporter_name ?? '' },
  reason: row.reason,
  state: row.state,
  createdAt: row.created_at.toISOString(),
  decidedAt: row.decided_at?.toISOString() ?? null,
});
