import type { Handlers } from '../../shared/events/consumer.ts';
import type { AuthTables } from './store/tables.ts';
import { renameUser } from './store/users.ts';

/** A changed display name shows in `user` objects and in the next tokens. */
export const profileHandlers: Handlers<AuthTables, 'auth.profiles'> = {
  'profile.updated': (event, delivery) =>
    delivery.once((tx) => renameUser(tx, event.data.userId, event.data.displayName, new Date(event.at))),
};
