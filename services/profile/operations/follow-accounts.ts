import type { DomainEvent } from '../../../shared/contracts/events.ts';
import type { ProfileContext, ProfileTools } from '../context.ts';
import * as accounts from '../store/accounts.ts';
import { addProfile, removeProfile } from '../store/profiles.ts';
import { removeOldAvatars } from './remove-avatars.ts';

/** Makes the profile of a new account. One that its owner has opened or changed already stays as it is. */
export async function addAccount(
  { db }: ProfileContext,
  { at, data }: DomainEvent<'user.registered'>,
): Promise<void> {
  await accounts.setRole(db, data.userId, data.role, at);
  if (!(await accounts.isDeleted(db, data.userId))) await addProfile(db, data.userId, data.displayName);
}

/** Takes the new role, unless a newer one is known. */
export const changeRole = (
  { db }: ProfileContext,
  { at, data }: DomainEvent<'user.role-changed'>,
): Promise<void> => accounts.setRole(db, data.userId, data.to, at);

/** The profile of a disabled account is shown to nobody, until it is enabled again. */
export const disableAccount = (
  { db }: ProfileContext,
  { at, data }: DomainEvent<'user.disabled'>,
): Promise<void> => accounts.setDisabled(db, data.userId, data.disabled, at);

/** Removes everything of a deleted account, for good. */
export async function removeAccount(
  tx: ProfileContext,
  tools: Pick<ProfileTools, 'objects'>,
  { data }: DomainEvent<'user.deleted'>,
): Promise<void> {
  await accounts.markDeleted(tx.db, data.userId);
  await removeProfile(tx.db, data.userId);
  await removeOldAvatars(tx, tools, data.userId, null);
}
