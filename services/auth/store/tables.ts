import type { Generated } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import type { MailTables } from '../../../shared/mail/mail-queue.ts';

export interface UsersTable {
  id: string;
  email: string;
  display_name: string;
  display_name_at: Generated<Date>;
  password_hash: string;
  role: Role;
  role_changed_at: Date | null;
  email_verified_at: Date | null;
  disabled_at: Date | null;
  created_at: Generated<Date>;
}

export interface SessionsTable {
  id: string;
  user_id: string;
  created_at: Generated<Date>;
  last_used_at: Generated<Date>;
  expires_at: Date;
  ip: string;
  user_agent: string;
  revoked_at: Date | null;
}

export type OneTimePurpose = 'verify-email' | 'reset-password';

export interface AuthTables extends MailTables {
  users: UsersTable;
  sessions: SessionsTable;
  refresh_tokens: { digest: string; session_id: string; used_at: Date | null; created_at: Generated<Date> };
  one_time_tokens: {
    digest: string;
    user_id: string;
    purpose: OneTimePurpose;
    expires_at: Date;
    used_at: Date | null;
  };
  signing_keys: {
    kid: string;
    private_jwk: unknown;
    public_jwk: unknown;
    created_at: Generated<Date>;
    active_from: Date;
  };
}
