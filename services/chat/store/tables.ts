import type { Generated } from 'kysely';
import type { Attachment, RoomKind, RoomRole } from '../../../shared/contracts/chat.ts';
import type {
  AuditAction,
  FilterAction,
  ReportState,
  SanctionKind,
} from '../../../shared/contracts/chat-moderation.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';

/** What chat knows about others, learnt from domain events; `…_at` is the time of the event that said so. */
interface Projections {
  people: {
    user_id: string;
    display_name: string;
    named_at: Date;
    /** The name of an incoming webhook: nobody who could be a member. */
    bot: Generated<boolean>;
    hides_presence: Generated<boolean>;
  };
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
  /** Of changes to its messages; they have numbers of their own. */
  last_change: Generated<number>;
  archived: Generated<boolean>;
  created_at: Date;
  /** Time of the last message, or of creation. */
  active_at: Date;
  locked: Generated<boolean>;
  slow_mode_seconds: Generated<number>;
  receipts: Generated<boolean>;
  retention_days: Generated<number | null>;
  /** What is below was removed by retention. */
  first_seq: Generated<number>;
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
  mentions_room: Generated<boolean>;
  /** Of replies that are not deleted. */
  reply_count: Generated<number>;
  last_reply_at: Generated<Date | null>;
  pinned_at: Generated<Date | null>;
  pinned_by: Generated<string | null>;
  /** Number of its last change; 0 if never changed. */
  change_seq: Generated<number>;
}

/** `until` null: no end. */
export interface SanctionsTable {
  room_id: string;
  user_id: string;
  kind: SanctionKind;
  until: Date | null;
  reason: string;
  /** The ban ended a membership, which comes back when the ban is over. */
  took_out: boolean;
  created_by: string;
  created_at: Date;
}

interface Moderation {
  sanctions: SanctionsTable;
  reports: {
    id: string;
    room_id: string;
    message_id: string;
    reporter_id: string;
    reason: string;
    state: ReportState;
    created_at: Date;
    decided_by: string | null;
    decided_at: Date | null;
  };
  /** `room_id` null: on the whole platform. */
  filter_words: {
    id: string;
    room_id: string | null;
    word: string;
    action: FilterAction;
    created_by: string;
    created_at: Date;
  };
  held_messages: {
    id: string;
    room_id: string;
    author_id: string;
    client_id: string;
    body: string;
    reply_to: string | null;
    attachments: { fileId: string }[];
    word: string;
    created_at: Date;
  };
  audit: {
    id: string;
    room_id: string | null;
    actor_id: string;
    action: AuditAction;
    target_id: string | null;
    message_id: string | null;
    reason: string;
    details: Record<string, unknown>;
    at: Date;
  };
}

export interface ChatTables extends KernelTables, Projections, Moderation {
  rooms: RoomsTable;
  members: {
    room_id: string;
    user_id: string;
    role: RoomRole;
    read_seq: Generated<number>;
    joined_at: Date;
    /** For slow mode. */
    last_sent_at: Generated<Date | null>;
  };
  messages: MessagesTable;
  /** What a message said before each edit, from version 1. */
  message_versions: { message_id: string; version: number; body: string; written_at: Date };
  reactions: { message_id: string; emoji: string; user_id: string; created_at: Date };
  invitations: { id: string; room_id: string; user_id: string; invited_by: string; created_at: Date };
  /** Memberships that ended lately: processes look whether they have sockets to take out of the room. */
  departures: { room_id: string; user_id: string; reason: string; at: Generated<Date> };
  webhooks: {
    id: string;
    room_id: string;
    name: string;
    secret_digest: Uint8Array;
    created_by: string;
    created_at: Date;
    rotated_at: Date | null;
    last_used_at: Date | null;
  };
}
