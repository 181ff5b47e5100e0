import { type Selectable, sql } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import {
  DEFAULT_PREFERENCES,
  DEFAULT_PRIVACY,
  type Preferences,
  type Privacy,
  type ProfileChange,
} from '../../../shared/contracts/profile.ts';
import type { Executor } from '../../../shared/db/kernel.ts';
import { likePattern } from '../../../shared/db/like-pattern.ts';
import { searchName } from './search-name.ts';
import type { ProfileTables } from './tables.ts';

type Db = Executor<ProfileTables>;

export interface Profile {
  userId: string;
  displayName: string;
  searchName: string;
  bio: string;
  locale: string;
  timeZone: string;
  links: { label: string; url: string }[];
  privacy: Privacy;
  preferences: Preferences;
  avatarId: string | null;
  /** Undefined until auth's event has come. */
  role: Role | undefined;
  createdAt: Date;
  updatedAt: Date;
}

type Row = Selectable<ProfileTables['profiles']> & { role: Role | null };

const toProfile = (row: Row): Profile => ({
  userId: row.user_id,
  displayName: row.display_name,
  searchName: row.search_name,
  bio: row.bio,
  locale: row.locale,
  timeZone: row.time_zone,
  links: row.links as Profile['links'],
  privacy: { ...DEFAULT_PRIVACY, ...row.privacy },
  preferences: { ...DEFAULT_PREFERENCES, ...row.preferences },
  avatarId: row.avatar_id,
  role: row.role ?? undefined,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

const profiles = (db: Db) =>
  db
    .selectFrom('profiles')
    .leftJoin('accounts', 'accounts.user_id', 'profiles.user_id')
    .selectAll('profiles')
    .select('accounts.role');

/** Makes the profile with this name if there is none; one that is there keeps its name, unless it has none. */
export async function addProfile(db: Db, userId: string, displayName: string): Promise<void> {
  await db
    .insertInto('profiles')
    .values({
      user_id: userId,
      display_name: displayName,
      search_name: searchName(displayName),
      avatar_id: null,
    })
    .onConflict((conflict) =>
      conflict
        .column('user_id')
        .doUpdateSet({ display_name: displayName, search_name: searchName(displayName) })
        .where('profiles.display_name', '=', ''),
    )
    .execute();
}

export async function findProfile(db: Db, userId: string): Promise<Profile | undefined> {
  const row = await profiles(db).where('profiles.user_id', '=', userId).executeTakeFirst();
  return row && toProfile(row);
}

/** The profile, held until the transaction ends, so that two changes at once come one after the other. */
export async function lockProfile(db: Db, userId: string): Promise<Profile | undefined> {
  const row = await profiles(db)
    .where('profiles.user_id', '=', userId)
    .forUpdate('profiles')
    .executeTakeFirst();
  return row && toProfile(row);
}

/** A profile that others can be shown: its account is neither disabled nor deleted. */
export async function findVisibleProfile(db: Db, userId: string): Promise<Profile | undefined> {
  const row = await profiles(db)
    .where('profiles.user_id', '=', userId)
    .where(sql<boolean>`not coalesce(accounts.disabled or accounts.deleted, false)`)
    .executeTakeFirst();
  return row && toProfile(row);
}

export async function changeProfile(db: Db, profile: Profile, change: ProfileChange): Promise<void> {
  const { displayName, bio, locale, timeZone, links, privacy } = change;
  await db
    .updateTable('profiles')
    .set({
      ...(displayName === undefined
        ? {}
        : { display_name: displayName, search_name: searchName(displayName) }),
      ...(bio === undefined ? {} : { bio }),
      ...(locale === undefined ? {} : { locale }),
      ...(timeZone === undefined ? {} : { time_zone: timeZone }),
      ...(links === undefined ? {} : { links }),
      ...(privacy === undefined ? {} : { privacy: { ...profile.privacy, ...privacy } }),
      updated_at: new Date(),
    })
    .where('user_id', '=', profile.userId)
    .execute();
}

export async function setPreferences(db: Db, userId: string, preferences: Preferences): Promise<void> {
  await db.updateTable('profiles').set({ preferences }).where('user_id', '=', userId).execute();
}

export async function setAvatar(db: Db, userId: string, avatarId: string | null): Promise<void> {
  await db
    .updateTable('profiles')
    .set({ avatar_id: avatarId, updated_at: new Date() })
    .where('user_id', '=', userId)
    .execute();
}

export async function removeProfile(db: Db, userId: string): Promise<void> {
  await db.deleteFrom('profiles').where('user_id', '=', userId).execute();
}

export interface Search {
  q: string;
  viewer: { userId: string; role: Role };
  after: [searchName: string, userId: string] | undefined;
  limit: number;
}

/** Profiles with `q` in the name that the viewer may find, by name; one row more than `limit` if there are more. */
export async function searchProfiles(db: Db, { q, viewer, after, limit }: Search): Promise<Profile[]> {
  const pattern = likePattern(searchName(q));
  let query = profiles(db)
    .where('search_name', 'like', pattern)
    .where(sql<boolean>`not coalesce(accounts.disabled or accounts.deleted, false)`)
    .orderBy('search_name')
    .orderBy('profiles.user_id')
    .limit(limit + 1);
  if (viewer.role !== 'admin') {
    const hidden = viewer.role === 'teacher' ? ['nobody'] : ['nobody', 'teachers'];
    query = query.where((is) =>
      is.or([
        is('profiles.user_id', '=', viewer.userId),
        is.and([
          sql<boolean>`coalesce((profiles.privacy->>'findable')::boolean, true)`,
          sql<boolean>`coalesce(profiles.privacy->>'profile', 'everyone') not in (${sql.join(hidden)})`,
        ]),
      ]),
    );
  }
  if (after) {
    query = query.where(sql<boolean>`(search_name, profiles.user_id) > (${after[0]}, ${after[1]}::uuid)`);
  }
  return (await query.execute()).map(toProfile);
}
