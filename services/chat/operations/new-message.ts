import type { Message, NewMessage, RoomKind } from '../../../shared/contracts/chat.ts';
import type { Role } from '../../../shared/contracts/common.ts';
import type { NewEvent } from '../../../shared/events/outbox.ts';
import { newId } from '../../../shared/ids.ts';
import type { MessageRow } from '../store/messages.ts';

/** Who wants to say something. */
export interface Author {
  id: string;
  /** As their token says it: good until an event about the person says better. */
  name: string;
  role: Role;
  /** A webhook of the room, or a message that a moderator has let through: what binds members does not apply. */
  exempt?: boolean;
}

/** One message that somebody wants to send. */
export interface Send {
  author: Author;
  traceparent: string;
  input: NewMessage & { roomId: string };
}

export interface Sent {
  message: Message;
  /** False: this author has sent this client id to the room before, and this is what came of it. */
  created: boolean;
}

/** By what a message is known to who sends it again. */
export const keyOf = ({ author, input }: Send) => ({
  roomId: input.roomId.toLowerCase(),
  authorId: author.id,
  clientId: input.clientId,
});

/** The same as one text. */
export const keyTextOf = (send: Send): string => {
  const { roomId, authorId, clientId } = keyOf(send);
  return `${roomId} ${authorId} ${clientId}`;
};

/** Until the database has given them. */
const UNKNOWN = 0;
const UNKNOWN_TIME = new Date(0);

/** The row of a message, but for what is found out about its reply, mentions, attachments and author. */
export const newRow = (send: Send): MessageRow => ({
  id: newId(),
  room_id: send.input.roomId.toLowerCase(),
  seq: UNKNOWN,
  client_id: send.input.clientId,
  author_id: send.author.id,
  author_name: send.author.name,
  author_bot: null,
  body: send.input.body,
  mentions: [],
  mentions_room: false,
  reply_to: null,
  reply_count: 0,
  last_reply_at: null,
  attachments: [],
  created_at: UNKNOWN_TIME,
  edited_at: null,
  deleted_at: null,
  pinned_at: null,
  pinned_by: null,
  change_seq: 0,
});

/** What events say about a message. To its receiver a direct room is called after the author. */
export const messageFacts = (
  room: { id: string; kind: RoomKind; name: string; course_id: string | null },
  row: MessageRow,
) => ({
  messageId: row.id,
  roomId: room.id,
  roomName: room.kind === 'direct' ? (row.author_name ?? '') : room.name,
  courseId: room.course_id,
  seq: row.seq,
  authorId: row.author_id,
  authorName: row.author_name ?? '',
});

/** Tells of a new message. `insertMessages` fills in what only the database knows: its number, names and the course. */
export const sentEvent = (row: MessageRow, excerpt: string, { traceparent }: Send) =>
  ({
    name: 'message.sent',
    actor: row.author_id,
    subject: row.id,
    traceparent,
    data: {
      messageId: row.id,
      roomId: row.room_id,
      roomName: '',
      courseId: null,
      seq: row.seq,
      authorId: row.author_id,
      authorName: '',
      excerpt,
    },
  }) satisfies NewEvent<'message.sent'>;
