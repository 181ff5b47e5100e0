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
  throw new Problem('validation-failed', 'The cursor is not valid.', {
    errors: [{ path: 'query.cursor', message: 'not a cursor that this list gave' }],
  });
}
