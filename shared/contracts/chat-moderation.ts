import { z } from 'zod';
import { Id, line, page, prose, Time } from './common.ts';

/** Moderation of rooms and incoming webhooks: HTTP bodies and replies of `/api/chat`. */

const Person = z.object({ id: Id, displayName: z.string() });
/** Why; moderators read it in the audit list. */
const Reason = z.string().trim().pipe(prose(500));

// Reports ------------------------------------------------------------------------------------------------------

export const NewReport = z
  .strictObject({ reason: Reason.refine((text) => text.length > 0, 'must say why') })
  .meta({ examples: [{ reason: 'Insults somebody' }] });

export const REPORT_STATES = ['open', 'dismissed', 'deleted'] as const;
export const ReportState = z.enum(REPORT_STATES);
export type ReportState = z.infer<typeof ReportState>;

export const Report = z
  .object({
    id: Id,
    roomId: Id,
    messageId: Id,
    /** As it is now: empty once it is deleted. */
    body: z.string(),
    author: Person,
    reporter: Person,
    reason: z.string(),
    state: ReportState,
    createdAt: Time,
    decidedAt: Time.nullable(),
  })
  .meta({ id: 'MessageReport' });
export type Report = z.infer<typeof Report>;
export const ReportPage = page(Report);
export const ReportQuery = z.strictObject({
  state: ReportState.default('open'),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().min(1).max(400).optional(),
});
export const ReportPath = z.strictObject({ reportId: Id });
/** `delete` deletes the message as well; all open reports of it are decided. */
export const ReportDecision = z
  .strictObject({ decision: z.enum(['dismiss', 'delete']) })
  .meta({ examples: [{ decision: 'dismiss' }] });

// Word filter and review -----------------------------------------------------------------------------------------

export const FILTER_ACTIONS = ['refuse', 'review'] as const;
export const FilterAction = z.enum(FILTER_ACTIONS);
export type FilterAction = z.infer<typeof FilterAction>;

export const NewFilterWord = z
  .strictObject({
    word: line(100)
      .refine((text) => /[\p{L}\p{N}]/u.test(text), 'must have a letter or digit')
      .meta({ description: 'A word or words; `*` at either end stands for any letters' }),
    action: FilterAction,
  })
  .meta({ examples: [{ word: 'scoundrel', action: 'review' }] });
export const FilterWord = z
  .object({ id: Id, roomId: Id.nullable(), word: z.string(), action: FilterAction, createdAt: Time })
  .meta({ id: 'FilterWord' });
export type FilterWord = z.infer<typeof FilterWord>;
export const FilterWordPage = page(FilterWord);
export const FilterWordPath = z.strictObject({ wordId: Id });
export const RoomFilterWordPath = z.strictObject({ roomId: Id, wordId: Id });

/** A message that waits for a moderator. */
export const HeldMessage = z
  .object({
    id: Id,
    roomId: Id,
    author: Person,
    clientId: z.string(),
    body: z.string(),
    replyTo: Id.nullable(),
    word: z.string().meta({ description: 'The entry of the word filter that held it' }),
    createdAt: Time,
  })
  .meta({ id: 'HeldMessage' });
export type HeldMessage = z.infer<typeof HeldMessage>;
export const HeldMessagePage = page(HeldMessage);
export const HeldMessagePath = z.strictObject({ heldId: Id });

// Mutes and bans ---------------------------------------------------------------------------------------------------

export const SANCTION_KINDS = ['mute', 'ban'] as const;
export const SanctionKind = z.enum(SANCTION_KINDS);
export type SanctionKind = z.infer<typeof SanctionKind>;

const FIVE_YEARS = 5 * 366 * 86_400;
export const NewSanction = z
  .strictObject({
    expiresIn: z
      .number()
      .int()
      .min(1)
      .max(FIVE_YEARS)
      .nullable()
      .optional()
      .meta({ description: 'Seconds; left out or null: until it is lifted' }),
    reason: Reason.optional(),
  })
  .meta({ examples: [{ expiresIn: 3600, reason: 'Shouting' }] });
export type NewSanction = z.output<typeof NewSanction>;
export const Sanction = z
  .object({
    user: Person,
    kind: SanctionKind,
    until: Time.nullable(),
    reason: z.string(),
    by: Person,
    createdAt: Time,
  })
  .meta({ id: 'Sanction' });
export type Sanction = z.infer<typeof Sanction>;
export const SanctionPage = page(Sanction);

// Audit --------------------------------------------------------------------------------------------------------------

export const AUDIT_ACTIONS = [
  'room-changed',
  'role-changed',
  'invited',
  'members-added',
  'kicked',
  'banned',
  'unbanned',
  'muted',
  'unmuted',
  'message-deleted',
  'message-pinned',
  'message-unpinned',
  'report-upheld',
  'report-dismissed',
  'held-approved',
  'held-rejected',
  'word-added',
  'word-removed',
  'webhook-added',
  'webhook-rotated',
  'webhook-removed',
  'exported',
] as const;
export const AuditAction = z.enum(AUDIT_ACTIONS);
export type AuditAction = z.infer<typeof AuditAction>;

export const AuditEntry = z
  .object({
    id: Id,
    roomId: Id.nullable().meta({ description: 'null: on the whole platform' }),
    actor: Person,
    action: AuditAction,
    target: Person.nullable(),
    messageId: Id.nullable(),
    reason: z.string(),
    details: z.record(z.string(), z.unknown()),
    at: Time,
  })
  .meta({ id: 'AuditEntry' });
export type AuditEntry = z.infer<typeof AuditEntry>;
export const AuditPage = page(AuditEntry);

// Incoming webhooks --------------------------------------------------------------------------------------------------

export const NewWebhook = z
  .strictObject({ name: line(80).meta({ description: 'What its messages are signed with' }) })
  .meta({ examples: [{ name: 'Build server' }] });
export const Webhook = z
  .object({
    id: Id,
    roomId: Id,
    name: z.string(),
    path: z.string().meta({ description: 'Where to post to, on the gateway' }),
    createdAt: Time,
    rotatedAt: Time.nullable(),
    lastUsedAt: Time.nullable(),
  })
  .meta({ id: 'Webhook' });
export type Webhook = z.infer<typeof Webhook>;
export const WebhookList = z.object({ items: z.array(Webhook) });
/** The only reply that ever has the secret. */
export const WebhookWithSecret = Webhook.extend({ secret: z.string() }).meta({ id: 'WebhookWithSecret' });
export type WebhookWithSecret = z.infer<typeof WebhookWithSecret>;
export const WebhookPath = z.strictObject({ webhookId: Id });
export const RoomWebhookPath = z.strictObject({ roomId: Id, webhookId: Id });
