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

/** In a room, not on the platform. */
export const ROOM_ROLES = ['owner', 'moderator', 'member'] as const;
export const RoomRole = z.enum(ROOM_ROLES);
export type RoomRole = z.infer<typeof RoomRole>;

const ChangeSeq = z.number().int().min(0).max(2_147_483_647);

export const Room = z
  .object({
    id: Id,
    kind: RoomKind,
    name: z.string().meta({ description: "A direct room has the other one's display name" }),
    courseId: Id.nullable(),
    lastSeq: Seq,
    lastChange: ChangeSeq.meta({ description: 'Number of the last change to a message of the room' }),
    readSeq: Seq,
    unread: z.number().int(),
    archived: z
      .boolean()
      .meta({ description: 'Read-only: its course is archived, or its owner archived the group' }),
    createdAt: Time,
    activeAt: Time.meta({ description: 'Of the last message, or of creation' }),
    role: RoomRole.nullable().meta({
      description: "The caller's; null for an administrator who only looks in",
    }),
    locked: z.boolean().meta({ description: 'Only moderators may write' }),
    slowModeSeconds: z
      .number()
      .int()
      .meta({ description: 'How long members wait between two messages; 0: not at all' }),
    receipts: z.boolean().meta({ description: 'Whether members see how far others have read' }),
    retentionDays: z
      .number()
      .int()
      .nullable()
      .meta({ description: 'Messages older than this are removed; null: kept' }),
    firstSeq: Seq.meta({
      description: 'What is below has been removed by retention; from here on there are no gaps',
    }),
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
    author: z.object({
      id: Id,
      displayName: z.string(),
      bot: z.boolean().optional().meta({ description: 'True for an incoming webhook; else absent' }),
    }),
    body: z.string(),
    mentions: z.array(Id),
    mentionsRoom: z.boolean().meta({ description: 'Addressed to everybody: `<@room>` of a moderator' }),
    replyTo: Id.nullable(),
    replyCount: z.number().int().meta({ description: 'Replies that are not deleted' }),
    lastReplyAt: Time.nullable(),
    attachments: z.array(Attachment),
    reactions: z.array(Reaction),
    createdAt: Time,
    editedAt: Time.nullable(),
    deletedAt: Time.nullable(),
    pinnedAt: Time.nullable(),
    changeSeq: ChangeSeq.meta({
      description:
        'Number of its last change (edit, deletion, reaction, reply, pin); 0 if never changed. Changes are numbered in each room from 1, without gaps',
    }),
  })
  .meta({ id: 'Message' });
export type Message = z.infer<typeof Message>;
export const MessageList = z.object({ items: z.array(Message) });

export const Member = z
  .object({
    userId: Id,
    displayName: z.string(),
    role: RoomRole,
    joinedAt: Time,
    readSeq: Seq.nullable().meta({ description: 'null where the room has its receipts turned off' }),
  })
  .meta({ id: 'Member' });
export type Member = z.infer<typeof Member>;
export const MemberPage = page(Member);
export const MemberList = z.object({ items: z.array(Member) });

/** Text of a message: trimmed, up to 4000 characters (Unicode code points); empty only beside attachments. */
export const MessageBody = z
  .string()
  .trim()
  .pipe(prose(2 * MESSAGE_LENGTH))
  .refine(
    (text) => text.length <= MESSAGE_LENGTH || [...text].length <= MESSAGE_LENGTH,
    `must have at most ${MESSAGE_LENGTH} characters`,
  );
export const ClientId = line(100).meta({
  description: 'Made by the client; sent again, it gives the first result',
});
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

/** What an integration posts to its room's webhook. Without `clientId` every call is a new message. */
export const WebhookMessage = z
  .strictObject({
    text: MessageBody.refine((text) => text.length > 0, 'must have text'),
    clientId: ClientId.optional(),
    replyTo: Id.optional(),
  })
  .meta({ examples: [{ text: 'Build 12 passed', clientId: 'build-12' }] });
export type WebhookMessage = z.output<typeof WebhookMessage>;

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

/** Changes after a number: the cursor of a client that was away. */
export const ChangesQuery = z.strictObject({
  after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
  limit: z.coerce.number().int().min(1).max(100).default(100),
});
export const ChangeList = z.object({
  items: z.array(Message).meta({ description: 'As they are now, in the order of `changeSeq`' }),
  lastChange: ChangeSeq.meta({ description: 'Where to go on: everything up to here is in the reply' }),
  hasMore: z.boolean(),
});
export type ChangeList = z.infer<typeof ChangeList>;

export const RoomPath = z.strictObject({ roomId: Id });
export const MemberPath = z.strictObject({ roomId: Id, userId: Id });
export const MessagePath = z.strictObject({ messageId: Id });
export const RoomMessagePath = z.strictObject({ roomId: Id, messageId: Id });
export const InvitationPath = z.strictObject({ invitationId: Id });

/** What its owner, or where it says so a moderator, may change about a room; what is left out stays. */
export const RoomChange = z
  .strictObject({
    name: line(100).optional(),
    archived: z.boolean().optional(),
    receipts: z.boolean().optional(),
    retentionDays: z.number().int().min(1).max(3650).nullable().optional(),
    locked: z.boolean().optional().meta({ description: 'For moderators too' }),
    slowModeSeconds: z
      .number()
      .int()
      .min(0)
      .max(86_400)
      .optional()
      .meta({ description: 'For moderators too' }),
  })
  .meta({ examples: [{ slowModeSeconds: 10 }] });
export type RoomChange = z.output<typeof RoomChange>;

/** Making somebody else the owner of a group makes its owner a moderator. */
export const RoleChange = z.strictObject({ role: RoomRole }).meta({ examples: [{ role: 'moderator' }] });

export const Invitation = z
  .object({
    id: Id,
    roomId: Id,
    roomName: z.string(),
    user: z.object({ id: Id, displayName: z.string() }),
    invitedBy: z.object({ id: Id, displayName: z.string() }),
    createdAt: Time,
  })
  .meta({ id: 'Invitation' });
export type Invitation = z.infer<typeof Invitation>;
export const InvitationPage = page(Invitation);
export const InvitationList = z.object({ items: z.array(Invitation) });
export const NewInvitations = z
  .strictObject({ userIds: z.array(Id).min(1).max(200) })
  .meta({ examples: [{ userIds: ['{userId}'] }] });

/** The answer to a message that the word filter holds; sent again, it gives the message once that is let through. */
export const HeldNotice = z
  .object({ held: z.literal(true), clientId: z.string(), detail: z.string() })
  .meta({ id: 'HeldNotice' });

export const MessagePage = page(Message);
export const MessageVersion = z
  .object({ version: z.number().int(), body: z.string(), writtenAt: Time })
  .meta({ id: 'MessageVersion' });
export type MessageVersion = z.infer<typeof MessageVersion>;
export const MessageVersionPage = page(MessageVersion);

/** Words must all occur; `"in this order"`, `or` and `-without` work as in web search. */
export const SearchQuery = z.strictObject({
  q: line(200),
  roomId: Id.optional(),
  authorId: Id.optional(),
  from: Time.optional(),
  to: Time.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().min(1).max(400).optional(),
});

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
    .strictObject({ roomId: Id, after: Seq.optional(), changesAfter: ChangeSeq.optional() })
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
   * With `changesAfter`: in `changes` up to 200 messages changed since that number, as they are now (none that is
   * newer than `messages`); `hasMoreChanges` if there are more. `lastChange` is the number to say next time: live
   * changes go on after it. The answer comes before anything that is newer.
   */
  'room:join': {
    room: Room;
    messages: Message[];
    lastSeq: number;
    hasMore: boolean;
    changes: Message[];
    lastChange: number;
    hasMoreChanges: boolean;
  };
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

/**
 * What every change to a message carries. A room's changes come live in the order of `changeSeq`, each after its
 * message; a number that is missing is fetched: `room:join` with `changesAfter`, or `GET rooms/{id}/changes`.
 */
export interface MessageChange {
  roomId: string;
  /** Of the message. */
  seq: number;
  changeSeq: number;
}

export interface ReactionChange extends MessageChange {
  messageId: string;
  emoji: string;
  userId: string;
  added: boolean;
  /** All of the message's, for everybody: whether one is yours, you know from `userId`. */
  reactions: { emoji: string; count: number }[];
}

export interface ThreadChange extends MessageChange {
  messageId: string;
  replyCount: number;
  lastReplyAt: string | null;
}

export interface PinChange extends MessageChange {
  messageId: string;
  /** null: no longer. */
  pinnedAt: string | null;
}

/** What of a room is the same for everybody; the name of a direct room is not, and empty here. */
export type RoomSettings = Pick<
  Room,
  'id' | 'name' | 'archived' | 'locked' | 'slowModeSeconds' | 'receipts' | 'retentionDays' | 'firstSeq'
>;

export interface ServerToClient {
  /**
   * A new message, in the order of `seq`, once for each socket that has joined the room, the sender's own too. Of its
   * attachments it has those that everybody in the room may see; `room:beat` tells that there are others. Its
   * `changeSeq` is 0: what happens to it comes after it, with numbers of its own.
   */
  message: (message: Message) => void;
  'message:edited': (message: EditedMessage) => void;
  /** The tombstone: no text, no attachments, no reactions, `deletedAt` set. */
  'message:deleted': (message: Message) => void;
  reaction: (change: ReactionChange) => void;
  /** Replies to a message were added or deleted. */
  thread: (thread: ThreadChange) => void;
  pin: (pin: PinChange) => void;
  /** Its name or settings are others now. */
  'room:updated': (room: RoomSettings) => void;
  /** To the user's own sockets: they are out of the room. `until`: of a ban that ends. */
  'room:left': (left: { roomId: string; reason: string; until: string | null }) => void;
  /** To whoever is invited. */
  invitation: (invitation: Invitation) => void;
  /**
   * The room's last numbers, within 5 s after they have moved: who has less has missed something, and asks for it
   * with `room:join`. At once for a change that is not the same for everybody.
   */
  'room:beat': (beat: { roomId: string; lastSeq: number; lastChange: number }) => void;
  typing: (typing: { roomId: string; userId: string; displayName: string }) => void;
  presence: (presence: { userId: string; online: boolean }) => void;
  /** To the room, unless its receipts are turned off, and to the user's other devices. */
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
