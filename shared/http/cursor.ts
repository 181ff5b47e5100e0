import { Problem } from '../errors.ts';
import type { Page } from '../contracts/common.ts';

/** Opaque to clients: the sort key of the last item of a page. */
export const encodeCursor = (key: (string | number)[]): string => Buffer.from(JSON.stringify(key)).toString('base64url');

/** The sort key of a cursor we made. Throws `validation-failed` on anything else. */
export function decodeCursor<T extends (string | number)[]>(cursor: string | undefined, shape: { [I in keyof T]: 'string' | 'number' }): T | undefined {
  if (cursor === undefined) return undefined;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    if (Array.isArray(key) && key.length === shape.length && shape.every((type, index) => typeof key[index] === type)) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: PostgreSQL refuses NUL in text
      if (key.every((part) => typeof part === 'number' || !/\u0000/.test(part))) return key as T;
    }
  } catch {
    // Falls through: whatever it is, it is not a cursor of ours.
  }
  throw new Problem('validation-failed', 'The cursor is not valid.', {
    errors: [{ path: 'query.cursor', message: 'not a cursor that this list gave' }],
  });
}

/** Makes a page of rows fetched with `limit + 1`: the extra row says that there are more. */
export function toPage<R, T>(rows: R[], limit: number, keyOf: (row: R) => (string | number)[], toItem: (row: R) => T): Page<T> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(toItem),
    nextCursor: rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null,
  };
}
