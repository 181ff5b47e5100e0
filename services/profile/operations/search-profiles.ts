import type { Page } from '../../../shared/contracts/common.ts';
import type { PublicProfile } from '../../../shared/contracts/profile.ts';
import { Problem } from '../../../shared/errors.ts';
import { decodeCursor, toPage } from '../../../shared/http/cursor.ts';
import { isId } from '../../../shared/ids.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import * as store from '../store/profiles.ts';
import { toPublicProfile } from './present.ts';

/** Profiles with `q` in the display name that their owners let the caller find, by name. */
export async function searchProfiles(
  context: ProfileContext,
  tools: ProfileTools,
  { q, limit, cursor }: { q: string; limit: number; cursor?: string | undefined },
): Promise<Page<PublicProfile>> {
  const after = decodeCursor<[string, string]>(cursor, ['string', 'string']);
  if (after && !isId(after[1])) throw new Problem('validation-failed', 'The cursor is not valid.');
  const rows = await store.searchProfiles(context.db, { q, viewer: context.caller, after, limit });
  return toPage(
    rows,
    limit,
    (profile) => [profile.searchName, profile.userId],
    (profile) => toPublicProfile(tools, profile, context.caller),
  );
}
