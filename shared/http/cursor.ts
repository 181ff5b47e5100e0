import type { Page } from '../contracts/common.ts';
import { Problem } from '../errors.ts';
import { isId } from '../ids.ts';

/** What a part of a sort key is; `id` and `time` are strings that the database would refuse otherwise. */
type PartShape = 'string' | 'number' | 'id' | 'time';

/** Opaque to clients: the sort key of the last item of a page. */
export const encodeCursor = (key: (string | number)[]): string =>
  Buffer.from(JSON.stringify(key)).toString('base64url');

/** The sort key of a cursor we made. Throws `validation-failed` on anything else. */
export function decodeCursor<T extends (string | number)[]>(
  cursor: string | undefined,
  shape: { [I in keyof T]: PartShape },
): T | undefined {
  if (cursor === undefined) return undefined;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (
      Array.isArray(key) &&
      key.length === shape.length &&
      shape.every((part, index) => fits(key[index], part))
    ) {
      return key as T;
    }
  } catch {
    // Falls through: whatever it is, it is not a cursor of ours.
  }
  throw new Problem('validation-failed', 'The cursor is not valid.', {
    errors: [{ path: 'query.cursor', message: 'not a cursor that this list gave' }],
  });
}

function fits(value: unknown, shape: PartShape): boolean {
  if (shape === 'number') return Number.isFinite(value);
  if (typeof value !== 'string') return false;
  if (shape === 'id') return isId(value);
  if (shape === 'time') return !Number.isNaN(Date.parse(value));
  return !value.includes('\u0000') && value.isWellFormed();
}

/** Makes a page of rows fetched with `limit + 1`: the extra row says that there are more. */
export function toPage<R, T>(
  rows: R[],
  limit: number,
  keyOf: (row: R) => (string | number)[],
  toItem: (row: R) => T,
): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(toItem),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null,
  };
}
