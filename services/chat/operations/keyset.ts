import { Problem } from '../../../shared/errors.ts';
import { isId } from '../../../shared/ids.ts';

/** A cursor's time and id, proven to be such before SQL casts them. Throws `validation-failed`. */
export function checkedKey(key: [string, string] | undefined): [at: string, id: string] | undefined {
  if (key === undefined) return undefined;
  if (
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(key[0]) &&
    !Number.isNaN(Date.parse(key[0])) &&
    isId(key[1])
  ) {
    return key;
  }
  throw badCursor();
}

/** A cursor's number, proven to fit where SQL compares it; 0 without one. Throws `validation-failed`. */
export function checkedNumber(key: [number] | undefined): number {
  const number = key?.[0] ?? 0;
  if (Number.isInteger(number) && number >= 0 && number <= 2_147_483_647) return number;
  throw badCursor();
}

const badCursor = (): Problem =>
  new Problem('validation-failed', 'The cursor is not valid.', {
    errors: [{ path: 'query.cursor', message: 'not a cursor that this list gave' }],
  });
