import type { Context } from '../../shared/http/context.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { LoginAttempts } from './login-attempts.ts';
import type { SigningKeys } from './signing-keys.ts';
import type { AuthTables } from './store/tables.ts';

export type AuthContext = Context<AuthTables>;

/** What auth's operations need beside the context. */
export interface AuthTools {
  keys: SigningKeys;
  ephemeral: EphemeralStore;
  attempts: LoginAttempts;
  settings: { publicUrl: string; limitScale: number; accessTokenSeconds: number };
}
