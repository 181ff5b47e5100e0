import type { DomainEvent } from '../../../shared/contracts/events.ts';
import type { NotificationsContext } from '../context.ts';
import { removeNotifications } from '../store/notifications.ts';
import * as people from '../store/people.ts';
import { removePreferences } from '../store/preferences.ts';
import { removeMailsOf } from '../store/waiting-mails.ts';
import { releaseWaitingMails } from './mail-to.ts';

/** Learns name and address of a new person. A verified address that came first stays. */
export async function addPerson(
  { db }: NotificationsContext,
  { at, data }: DomainEvent<'user.registered'>,
): Promise<void> {
  const known = await people.lockPerson(db, data.userId);
  if (!known.email) await people.setEmail(db, data.userId, data.email, false);
  await people.setName(db, data.userId, data.displayName, null, at);
}

/** Learns that an address is its owner's; mails that waited for it go out. */
export async function verifyPerson(
  { db }: NotificationsContext,
  { data }: DomainEvent<'user.verified'>,
): Promise<void> {
  await people.lockPerson(db, data.userId);
  await people.setEmail(db, data.userId, data.email, true);
  await releaseWaitingMails(db, data.userId);
}

export const renamePerson = (
  { db }: NotificationsContext,
  { at, data }: DomainEvent<'profile.updated'>,
): Promise<void> => people.setName(db, data.userId, data.displayName, data.locale, at);

/** A disabled account gets no mail. Its list goes on, for the day it is enabled again. */
export const disablePerson = (
  { db }: NotificationsContext,
  { at, data }: DomainEvent<'user.disabled'>,
): Promise<void> => people.setDisabled(db, data.userId, data.disabled, at);

/** Removes all that is kept about a person, mails that have not been sent included. */
export async function removePerson(
  { db }: NotificationsContext,
  { data }: DomainEvent<'user.deleted'>,
): Promise<void> {
  await people.erasePerson(db, data.userId);
  await removeMailsOf(db, data.userId);
  await removeNotifications(db, data.userId);
  await removePreferences(db, data.userId);
}
