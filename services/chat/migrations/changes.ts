import type { Migration } from '../../../shared/db/kernel.ts';

/** Changes to messages have numbers, so that who was away can ask for those since then. */
export const changeMigrations: Migration[] = [
  {
    name: '020-message-changes',
    statements: [
      'alter table rooms add column last_change int not null default 0',
      'alter table messages add column change_seq int not null default 0',
      // What was changed before changes had numbers gets some, for clients that never had any.
      `update messages m set change_seq = n.change_seq from (
        select id, row_number() over (partition by room_id order by seq)::int as change_seq from messages x
        where edited_at is not null or deleted_at is not null or reply_count > 0 or pinned_at is not null
          or exists (select 1 from reactions r where r.message_id = x.id)) n where n.id = m.id`,
      `update rooms r set last_change = n.last_change from (
        select room_id, max(change_seq) as last_change from messages where change_seq > 0 group by room_id) n
        where n.room_id = r.id`,
      'create unique index messages_changed on messages (room_id, change_seq) where change_seq > 0',
    ],
  },
  {
    name: '021-send-in-batches',
    // Messages are inserted by whoever has their room's row locked: that it is there need not be asked once more for
    // each of them, which was a good part of storing one. Rooms are never deleted; who does, deletes their messages.
    statements: ['alter table messages drop constraint messages_room_id_fkey'],
  },
];
