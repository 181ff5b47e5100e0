import type { AvatarSize } from '../../shared/contracts/profile.ts';
import type { Context } from '../../shared/http/context.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { ObjectStore } from '../../shared/ports/object-store.ts';
import type { ProfileTables } from './store/tables.ts';

export type ProfileContext = Context<ProfileTables>;

/** What profile's operations need beside the context. */
export interface ProfileTools {
  objects: ObjectStore;
  ephemeral: EphemeralStore;
  /** Makes the square WebP images of a picture. Throws a Problem on what is not one. */
  drawAvatar: (picture: Uint8Array) => Promise<Record<AvatarSize, Uint8Array>>;
  settings: { publicUrl: string };
}
