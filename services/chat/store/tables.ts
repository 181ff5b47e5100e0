import type { Generated } from 'kysely';
import type { Attachment, RoomKind } from '../../../shared/contracts/chat.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';

/** What chat knows about others, learnt from domain events; `…_at` is the time of the event that said so. */
interface Projections {
  people: { user_id: string; display_name: string; named_at: Date };
  courses: {
    course_id: string;
    title: string;
    teacher_id: string;
    status: string;
    /** Was ever published: only then there is a room. */
    published: boolean;
    changed_at: Date;
  };
  enrolments: { course_id: string; user_id: string; active: boolean; changed_at: Date };
  files: {
    file_id: string;
    name: string;
    type: string;
    size: number;
    visibility: string;
    course_id: string | null;
    owner_id: string;
    usable: boolean;
    changed_at: Date;
  };
}

export interface RoomsTable {
  id: string;
  kind: RoomKind;
  name: string;
  course_id: string | null;
  /** Direct rooms: both user ids, sorted, so that a pair has one room. */
  pair_key: string | null;
  last_seq: Generated<number>;
  archived: Generated<boolean>;
  created_at: Date;
  /** Time of the last message, or of creation. */
  active_at: Date;
}

export interface MessagesTable {
  id: string;
  room_id: string;
  seq: number;
  client_id: string;
  author_id: string;
  body: string;
  mentions: string[];
  reply_to: string | null;
  attachments: Attachment[];
  created_at: Date;
  edited_at: Date | null;
  deleted_at: Date | null;
}

export interface ChatTables extends KernelTables, Projections {
  rooms: RoomsTable;
  members: {
    room_id: string;
    user_id: string;
    role: 'owner' | 'member';
    read_seq: Generated<number>;
    joined_at: Date;
  };
  messages: MessagesTable;
  reactions: { message_id: string; emoji: string; user_id: string; created_at: Date };
}
