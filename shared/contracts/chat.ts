import { z } from 'zod';
import { Id, line, page, prose, Time } from './common.ts';

/** Rooms and messages: HTTP bodies and replies, and the typed maps of the socket events. */

export const MESSAGE_LENGTH = 4000;
export const ROOM_KINDS = ['course', 'group', 'direct'] as const;
export const RoomKind = z.enum(ROOM_KINDS);
export type RoomKind = z.infer<typeof RoomKind>;

const Seq = z
  .number()
  .int()
  .min(0)
  .max(2_147_483_647)
  .meta({ description: 'Number in the room, from 1, without gaps' });

export const Room = z
  .object({
    id: Id,
    kind: RoomKind,
    name: z.string().meta({ description: "A direct room has the other one's display name" }),
    courseId: Id.nullable(),
    lastSeq: Seq,
    readSeq: Seq,
    unread: z.number().int(),
    archived: z.boolean().meta({ description: 'Read-only: its course is archived' }),
    createdAt: Time,
  })
  .meta({ id: 'Room' });
export type Room = z.infer<typeof Room>;
export const RoomPage = page(Room);

export const Attachment = z
  .object({ fileId: Id, name: z.string(), type: z.string(), size: z.number() })
  .meta({ id: 'Attachment' });
export type Attachment = z.infer<typeof Attachment>;

export const Reaction = z
  .object({ emoji: z.string(), count: z.number().int(), mine: z.boolean() })
  .meta({ id: 'Reaction' });
export type Reaction = z.infer<typeof Reaction>;

export const Message = z
  .object({
    id: Id,
    roomId: Id,
    seq: Seq,
    clientId: z.string(),
    author: z.object({ id: Id, displayName: z.string() }),
    body: z.string(),
    mentions: z.array(Id),
    replyTo: Id.nullable(),
    attachments: z.array(Attachment),
    reactions: z.array(Reaction),
    createdAt: Time,
    editedAt: Time.nullable(),
    deletedAt: Time.nullable(),
  })
  .meta({ id: 'Message' });
export type Message = z.infer<typeof Message>;
export const MessageList = z.object({ items: z.array(Message) });

export const Member = z
  .object({ userId: Id, displayName: z.string(), role: z.enum(['owner', 'member']), joinedAt: Time })
  .meta({ id: 'Member' });
export type Member = z.infer<typeof Member>;
export const MemberPage = page(Member);
export const MemberList = z.object({ items: z.array(Member) });

/** Text of a message: trimmed, up to 4000 characters; empty only beside attachments. */
const MessageBody = z.string().trim().pipe(prose(MESSAGE_LENGTH));
const ClientId = line(100).meta({ description: 'Made by the client; sent again, it gives the first result' });
const Attachments = z.array(z.strictObject({ fileId: Id })).max(10);

const content = {
  clientId: ClientId,
  body: MessageBody,
  replyTo: Id.nullable().optional(),
  attachments: Attachments.optional(),
};
const hasContent = (message: { body: string; attachments?: unknown[] | undefined }): boolean =>
  message.body.length > 0 || (message.attachments?.length ?? 0) > 0;
const NO_CONTENT = { path: ['body'], error: 'must have text or attachments' };

export const NewMessage = z
  .strictObject(content)
  .refine(hasContent, NO_CONTENT)
  .meta({ examples: [{ clientId: 'c-1', body: 'When is the next lesson?' }] });
export type NewMessage = z.output<typeof NewMessage>;

export const NewRoom = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('group'), name: line(100), memberIds: z.array(Id).max(200) }),
    z.strictObject({ kind: z.literal('direct'), memberIds: z.array(Id).length(1) }),
  ])
  .meta({ examples: [{ kind: 'group', name: 'Study group', memberIds: ['{userId}'] }] });
export type NewRoom = z.output<typeof NewRoom>;

export const NewMembers = z
  .strictObject({ memberIds: z.array(Id).min(1).max(200) })
  .meta({ examples: [{ memberIds: ['{userId}'] }] });

export const MarkRead = z.strictObject({ seq: Seq }).meta({ examples: [{ seq: 0 }] });

export const HistoryQuery = z
  .strictObject({
    before: z.coerce.number().int().min(1).max(2_147_483_647).optional(),
    after: z.coerce.number().int().min(0).max(2_147_483_647).optional(),
    limit: z.coerce.number().int().min(1).max(100).default(20),
  })
  .refine(
    (query) => query.before === undefined || query.after === undefined,
    'give before or after, not both',
  );

export const RoomPath = z.strictObject({ roomId: Id });
export const MemberPath = z.strictObject({ roomId: Id, userId: Id });

/** One emoji as people see it (an RGI sequence of Unicode, or a plain pictograph), at most 32 bytes. */
export const Emoji = z
  .string()
  .max(32)
  .refine(
    (text) =>
      /^(?:\p{RGI_Emoji}|\p{Extended_Pictographic})$/v.test(text) &&
      new TextEncoder().encode(text).length <= 32,
    'must be one emoji',
  );

// Sockets ------------------------------------------------------------------------------------------------------

/** The one argument of each client event, before its acknowledgement. */
export const CLIENT_EVENTS = {
  'room:join': z
    .strictObject({ roomId: Id, after: Seq.optional() })
    .meta({ examples: [{ roomId: '{roomId}' }] }),
  'room:leave': z.strictObject({ roomId: Id }).meta({ examples: [{ roomId: '{roomId}' }] }),
  'message:send': z
    .strictObject({ roomId: Id, ...content })
    .refine(hasContent, NO_CONTENT)
    .meta({ examples: [{ roomId: '{roomId}', clientId: 's-1', body: 'Good morning' }] }),
  'message:edit': z
    .strictObject({ messageId: Id, body: MessageBody.refine((body) => body.length > 0, 'must have text') })
    .meta({ examples: [{ messageId: '{messageId}', body: 'Good evening' }] }),
  'message:delete': z.strictObject({ messageId: Id }).meta({ examples: [{ messageId: '{messageId}' }] }),
  'reaction:add': z
    .strictObject({ messageId: Id, emoji: Emoji })
    .meta({ examples: [{ messageId: '{messageId}', emoji: '👍' }] }),
  'reaction:remove': z
    .strictObject({ messageId: Id, emoji: Emoji })
    .meta({ examples: [{ messageId: '{messageId}', emoji: '👍' }] }),
  typing: z.strictObject({ roomId: Id }).meta({ examples: [{ roomId: '{roomId}' }] }),
  read: z.strictObject({ roomId: Id, seq: Seq }).meta({ examples: [{ roomId: '{roomId}', seq: 0 }] }),
  'presence:list': z.strictObject({ roomId: Id }).meta({ examples: [{ roomId: '{roomId}' }] }),
  /** Hands over a fresh access token of the same user before the old one runs out. */
  'auth:refresh': z
    .strictObject({ token: z.string().min(1).max(4096) })
    .meta({ examples: [{ token: '{token}' }] }),
} as const satisfies Record<string, z.ZodType>;
export type ClientEvent = keyof typeof CLIENT_EVENTS;
export type ClientInput<E extends ClientEvent> = z.output<(typeof CLIENT_EVENTS)[E]>;

/** What an acknowledgement has beside `ok: true`. */
export interface ClientAcks {
  /**
   * With `after`: up to 200 messages that follow it, `hasMore` if there are more (ask again, or use HTTP).
   * Without: the newest 50, `hasMore` if there are older ones. Live events go on where the last page ends.
   */
  'room:join': { room: Room; messages: Message[]; lastSeq: number; hasMore: boolean };
  'room:leave': Record<never, never>;
  'message:send': { message: Message };
  'message:edit': { message: Message };
  'message:delete': { message: Message };
  'reaction:add': { reactions: Reaction[] };
  'reaction:remove': { reactions: Reaction[] };
  typing: Record<never, never>;
  read: { seq: number };
  'presence:list': { online: string[] };
  'auth:refresh': { expiresAt: string };
}
export interface AckError {
  ok: false;
  error: { code: string; detail: string; errors?: { path: string; message: string }[]; retryAfter?: number };
}
export type Ack<E extends ClientEvent> = ({ ok: true } & ClientAcks[E]) | AckError;

export type ClientToServer = {
  [E in ClientEvent]: (input: z.input<(typeof CLIENT_EVENTS)[E]>, ack?: (reply: Ack<E>) => void) => void;
};

/** An edit leaves the reactions alone: keep those you have. */
export type EditedMessage = Omit<Message, 'reactions'>;

export interface ReactionChange {
  roomId: string;
  messageId: string;
  emoji: string;
  userId: string;
  added: boolean;
  /** All of the message's, for everybody: whether one is yours, you know from `userId`. */
  reactions: { emoji: string; count: number }[];
}

export interface ServerToClient {
  /** A new message, in the order of `seq`, once for each socket that has joined the room, the sender's own too. */
  message: (message: Message) => void;
  'message:edited': (message: EditedMessage) => void;
  /** The tombstone: no text, no attachments, no reactions, `deletedAt` set. */
  'message:deleted': (message: Message) => void;
  reaction: (change: ReactionChange) => void;
  typing: (typing: { roomId: string; userId: string; displayName: string }) => void;
  presence: (presence: { userId: string; online: boolean }) => void;
  /** To the room, and to the user's other devices. */
  read: (read: { roomId: string; userId: string; seq: number }) => void;
  /** The connection closes right after. */
  'session:ended': (end: { reason: string }) => void;
}

export interface LiveNotification {
  id: string;
  kind: string;
  title: string;
  body: string;
  link: string | null;
  createdAt: string;
  readAt: null;
}

/** Namespace `/notifications`. */
export interface NotificationsToClient {
  notification: (notification: LiveNotification) => void;
  'session:ended': (end: { reason: string }) => void;
}
