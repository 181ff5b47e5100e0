import type { Generated } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import type { Preferences, Privacy } from '../../../shared/contracts/profile.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';

export interface ProfileTables extends KernelTables {
  profiles: {
    user_id: string;
    display_name: string;
    /** The name without case and accents; what the search looks at and sorts by. */
    search_name: string;
    bio: Generated<string>;
    locale: Generated<string>;
    time_zone: Generated<string>;
    links: Generated<unknown>;
    /** What differs from the defaults. */
    privacy: Generated<Partial<Privacy>>;
    preferences: Generated<Partial<Preferences>>;
    avatar_id: string | null;
    created_at: Generated<Date>;
    updated_at: Generated<Date>;
  };
  /** What auth says about an account. Kept apart, because its events may come before the profile is there. */
  accounts: {
    user_id: string;
    role: Generated<Role>;
    role_at: Generated<Date>;
    disabled: Generated<boolean>;
    disabled_at: Generated<Date>;
    deleted: Generated<boolean>;
  };
  /** Every avatar that has objects in the store: being written, in use, or to be removed. */
  avatars: {
    id: string;
    user_id: string;
    state: 'pending' | 'current' | 'doomed';
    changed_at: Generated<Date>;
  };
}
