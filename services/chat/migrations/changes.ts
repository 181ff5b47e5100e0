import type { Migration } from '../../../shared/db/kernel.ts';

/** Changes to messages have numbers, so that who was away can ask for those since then. */
export const changeMigrations: Migration[] = [
  {
    name: '020-message-changes',
    statements: [
      'alter table rooms add column last_change int not null default 0',
      'alter table messages add column change_seq int not null default 0',
    ],
  },
  {
    name: '020a-number-changes',
    statements: [
      // What was changed before changes had numbers gets some, for clients that never had any.
      `update messages m set change_seq = n.change_seq from (
        select id, row_number() over (partition by room_id order by seq)::int as change_seq from messages x
        where edited_at is not null or deleted_at is not null or reply_count > 0 or pinned_at is not null
          or exists (select 1 from reactions r where r.message_id = x.id)) n
        where n.id = m.id and not exists (select 1 from rooms r where r.id = m.room_id and r.last_change > 0)`,
      `update rooms r set last_change = n.last_change from (
        select room_id, max(change_seq) as last_change from messages where change_seq > 0 group by room_id) n
        where n.room_id = r.id and r.last_change = 0`,
    ],
    indexes: [
      {
        name: 'messages_changed',
        on: 'messages (room_id, change_seq) where change_seq > 0',
        unique: true,
      },
    ],
  },
  {
    name: '021-send-in-batches',
    // Messages are inserted by whoever has their room's row locked: that it is there need not be asked once more for
    // each of them, which was a good part of storing one. Rooms are never deleted; who does, deletes their messages.
    statements: ['alter table messages drop constraint messages_room_id_fkey'],
  },
  {
    name: '022-attached-files',
    statements: [],
    // A file that is deleted changes the messages it is attached to.
    indexes: [
      {
        name: 'messages_attached',
        on: "messages using gin (attachments jsonb_path_ops) where attachments <> '[]'::jsonb",
      },
    ],
  },
  {
    name: '023-search-in-small-steps',
    // New words wait in a list, and the message that fills it up merges them all: with PostgreSQL's 4 MB that was a quarter
    // of a second, every 30 s at a thousand messages a second, for everybody behind it. In kB: some 30 ms.
    statements: ['alter index messages_words set (gin_pending_list_limit = 512)'],
  },
  {
    name: '024-search-merged-by-a-job',
    // In small steps it was still some 50 ms of every two seconds at a thousand messages a second, for all behind that message.
    // Now a job merges (`mergeNewWords`); the limit is for when it does not come round.
    statements: ['alter index messages_words set (gin_pending_list_limit = 2048)'],
  },
];
