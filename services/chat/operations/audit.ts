import type { AuditAction, AuditEntry } from '../../../shared/contracts/chat-moderation.ts';
import type { Page } from '../../../shared/contracts/common.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext } from '../context.ts';
import { insertAudit, listAudit as listRows } from '../store/audit.ts';
import { moderatedRoom } from './room-access.ts';

/** Writes down who did what, in the transaction that does it. `roomId` null: on the whole platform. */
export async function noteAudit(
  tx: ChatContext,
  roomId: string | null,
  action: AuditAction,
  about: { targetId?: string; messageId?: string; reason?: string; details?: Record<string, unknown> } = {},
): Promise<void> {
  await insertAudit(tx.db, {
    id: newId(),
    room_id: roomId,
    actor_id: tx.caller.userId,
    action,
    target_id: about.targetId ?? null,
    message_id: about.messageId ?? null,
    reason: about.reason ?? '',
    details: about.details ?? {},
    at: new Date(),
  });
}

/**
 * What moderators have done in the room, newest first; for moderators. Without a room, what was done anywhere: the
 * door shows that to administrators only.
 */
export async function listAudit(
  context: ChatContext,
  input: { roomId?: string | undefined; limit: number; cursor?: string | undefined },
): Promise<Page<AuditEntry>> {
  const before = decodeCursor<[string]>(input.cursor, ['id'])?.[0];
  const room = input.roomId === undefined ? undefined : await moderatedRoom(context, input.roomId);
  const rows = await listRows(context.db, room?.id, input.limit, before);
  return toPage(
    rows,
    input.limit,
    (row) => [row.id],
    (row) => ({
      id: row.id,
      roomId: row.room_id,
      actor: { id: row.actor_id, displayName: row.actor_name ?? '' },
      action: row.action,
      target: row.target_id === null ? null : { id: row.target_id, displayName: row.target_name ?? '' },
      messageId: row.message_id,
      reason: row.reason,
      details: row.details,
      at: row.at.toISOString(),
    }),
  );
}
