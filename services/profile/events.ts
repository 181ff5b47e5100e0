import type { Handlers } from '../../shared/events/consumer.ts';
import { type ServiceDeps, systemContext } from '../../shared/service.ts';
import type { ProfileTools } from './context.ts';
import { addAccount, changeRole, disableAccount, removeAccount } from './operations/follow-accounts.ts';
import type { ProfileTables } from './store/tables.ts';

/** What profile learns from auth. Any order will do. */
export const userHandlers = (
  deps: ServiceDeps<ProfileTables>,
  tools: Pick<ProfileTools, 'objects'>,
): Handlers<ProfileTables, 'profile.users'> => ({
  'user.registered': (event, delivery) => delivery.once((tx) => addAccount(systemContext(deps, tx), event)),
  // The avatar's objects are left to the sweep: a handler's transaction has no hook after its commit.
  'user.deleted': (event, delivery) =>
    delivery.once((tx) => removeAccount(systemContext(deps, tx), tools, event)),
  'user.role-changed': (event, delivery) => delivery.once((tx) => changeRole(systemContext(deps, tx), event)),
  'user.disabled': (event, delivery) => delivery.once((tx) => disableAccount(systemContext(deps, tx), event)),
});
