import type { Generated } from 'kysely';
import type { NotificationKind, NotificationPreferences } from '../../../shared/contracts/notifications.ts';
import type { MailTables } from '../../../shared/mail/mail-queue.ts';

export interface NotificationsTables extends MailTables {
  /** What is known of a person, field by field as the events come, in any order. */
  people: {
    user_id: string;
    email: string | null;
    verified: Generated<boolean>;
    display_name: string | null;
    name_at: Generated<Date>;
    locale: string | null;
    disabled: Generated<boolean>;
    disabled_at: Generated<Date>;
    deleted: Generated<boolean>;
  };
  notifications: {
    id: string;
    user_id: string;
    kind: NotificationKind;
    title: string;
    body: string;
    link: string | null;
    /** False: only mailed; the list does not show it. */
    in_app: boolean;
    created_at: Generated<Date>;
    read_at: Date | null;
  };
  /** What differs from the defaults. */
  preferences: { user_id: string; choices: Partial<NotificationPreferences> };
  /** Mails to people whose verified address is not known yet: its event may be on the way. */
  waiting_mails: { notification_id: string; user_id: string; mail: unknown; created_at: Generated<Date> };
}
