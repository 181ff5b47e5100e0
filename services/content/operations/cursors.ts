import { Problem } from '../../../shared/errors.ts';
import { decodeCursor } from '../../../shared/http/cursor.ts';
import { isId } from '../../../shared/ids.ts';

/** The id that a list went up to. Throws `validation-failed` on a cursor that is not ours. */
export function idCursor(cursor: string | undefined): string | undefined {
  const key = decodeCursor<[string]>(cursor, ['string']);
  if (key && !isId(key[0])) throw new Problem('validation-failed', 'The cursor is not valid.');
  return key?.[0];
}

/** The position that a list went up to; 0 at the start. */
export function positionCursor(cursor: string | undefined): number {
  const position = decodeCursor<[number]>(cursor, ['number'])?.[0] ?? 0;
  if (!Number.isInteger(position) || Math.abs(position) > 2_000_000_000) {
    throw new Problem('validation-failed', 'The cursor is not valid.');
  }
  return position;
}
