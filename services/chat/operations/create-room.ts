import type { NewRoom, Room } from '../../../shared/contracts/chat.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { ChatContext } from '../context.ts';
import { addMembers } from '../store/members.ts';
import { knownPeople } from '../store/people.ts';
import { findPairRoom, insertRoom } from '../store/rooms.ts';
import { getRoom } from './get-room.ts';
import { nameCaller } from './room-access.ts';

/**
 * Opens a group with the caller as its owner, or the one direct room of a pair, which may be there already.
 * Throws `validation-failed` for members nobody knows.
 */
export async function createRoom(
  context: ChatContext,
  input: NewRoom,
): Promise<{ room: Room; created: boolean }> {
  const { userId } = context.caller;
  const others = await checkedPeople(context, input.memberIds);
  return context.transaction(async (tx) => {
    await nameCaller(tx);
    const id = newId();
    const at = new Date();
    if (input.kind === 'group') {
      await insertRoom(tx.db, { id, kind: 'group', name: input.name, courseId: null, pairKey: null, at });
      await addMembers(
        tx.db,
        id,
        [{ userId, role: 'owner' }, ...others.map((other) => ({ userId: other, role: 'member' as const }))],
        at,
      );
      return { room: await getRoom(tx, id), created: true };
    }

    const [other] = others;
    if (!other) {
      throw new Problem('validation-failed', 'A direct room needs somebody else.', {
        errors: [{ path: 'body.memberIds.0', message: 'must be somebody else' }],
      });
    }
    const pairKey = [userId, other].sort().join(' ');
    const created = await insertRoom(tx.db, { id, kind: 'direct', name: '', courseId: null, pairKey, at });
    if (!created) return { room: await getRoom(tx, (await findPairRoom(tx.db, pairKey))!), created: false };
    await addMembers(
      tx.db,
      id,
      [userId, other].map((member) => ({ userId: member, role: 'member' as const })),
      at,
    );
    return { room: await getRoom(tx, id), created: true };
  });
}

/** The ids once each, without the caller. Throws `validation-failed` naming each that is nobody's. */
export async function checkedPeople(context: ChatContext, memberIds: string[]): Promise<string[]> {
  const ids = memberIds.map((id) => id.toLowerCase());
  const known = await knownPeople(context.db, ids);
  const errors = ids.flatMap((id, index) =>
    known.has(id) || id === context.caller.userId
      ? []
      : [{ path: `body.memberIds.${index}`, message: 'no such user' }],
  );
  if (errors.length > 0)
    throw new Problem('validation-failed', 'Not all members exist.', { errors: errors.slice(0, 20) });
  return [...new Set(ids)].filter((id) => id !== context.caller.userId);
}
