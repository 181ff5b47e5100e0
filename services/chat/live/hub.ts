import type { Kysely } from 'kysely';
import type { LiveNotification } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import type { Live } from '../context.ts';
import type { ChatMetrics } from '../metrics.ts';
import { recentDepartures, roomsToTell } from '../store/members.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import { lastNumbersOf } from '../store/rooms.ts';
import type { ChatTables } from '../store/tables.ts';
import type { Connections, SessionEnd } from './connections.ts';
import { type ChatServer, NOTIFICATIONS, roomKey, userKey } from './names.ts';
import { PresenceBoard } from './presence-board.ts';
import { type Broadcast, RoomFeeds } from './room-feeds.ts';

/** Everything that reaches connected clients by itself, on every process. */
export interface Hub extends Live {
  feeds: RoomFeeds;
  board: PresenceBoard;
  notify(userId: string, notification: LiveNotification): void;
  /** Tells a session's sockets that it is over and closes them. */
  endSession(sessionId: string, reason: string): void;
  endUser(userId: string, reason: string): void;
  /**
   * Takes this process's sockets out of rooms that their users have left, where the word of it was lost on its
   * way here. Called every second.
   */
  evictDeparted(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

const ENDED = 'chat:ended';
/** How far `evictDeparted` looks back: longer than any outage of its database that it should make good. */
const DEPARTED_SECONDS = 60;

export function createHub(
  io: ChatServer,
  broadcast: Broadcast,
  connections: Connections,
  deps: { db: Kysely<ChatTables>; ephemeral: EphemeralStore; log: Log },
  metrics: ChatMetrics,
): Hub {
  const { db, ephemeral, log } = deps;
  const feeds = new RoomFeeds(
    io,
    broadcast,
    {
      numbersOf: (roomIds) => lastNumbersOf(db, roomIds),
      messagesAfter: async (roomId, seq, limit) => {
        const rows = await messagesIn(db, roomId, { after: seq, limit });
        const messages = await withReactions(db, rows, undefined);
        // As nobody in particular sees it: whose a reaction is, and who may see an attachment, come with the changes,
        // which must still be news then.
        return messages.map((message) => ({ ...message, changeSeq: 0 }));
      },
    },
    ephemeral,
    log,
    metrics,
  );

  const board = new PresenceBoard(newId(), ephemeral, log, async (changes) => {
    const rooms = await roomsToTell(
      db,
      changes.map((change) => change.userId),
    );
    for (const change of changes) {
      const keys = (rooms.get(change.userId) ?? []).map(roomKey);
      // Every process tells its own sockets; no one needs to hear of himself.
      if (keys.length > 0) io.local.to(keys).except(userKey(change.userId)).emit('presence', change);
    }
  });

  /** Every process ends those it has. */
  const end = (who: SessionEnd): void => {
    connections.end(who);
    ephemeral.publish(ENDED, JSON.stringify(who)).catch((error: unknown) => {
      log.warn({ reason: String(error) }, 'the end of a session was not told to the other processes');
    });
  };
  let stopListening: () => Promise<void> = async () => {};

  return {
    feeds,
    board,
    messages: (messages) => feeds.publish(messages),
    edited: (message) => feeds.publishChange('message:edited', message),
    deleted: (message) => feeds.publishChange('message:deleted', message),
    reaction: (change) => feeds.publishChange('reaction', change),
    typing: (typing) =>
      void io.to(roomKey(typing.roomId)).except(userKey(typing.userId)).emit('typing', typing),
    read: (read, receipts) =>
      void io
        .to(receipts ? [roomKey(read.roomId), userKey(read.userId)] : userKey(read.userId))
        .emit('read', read),
    thread: (change) => feeds.publishChange('thread', change),
    pin: (change) => feeds.publishChange('pin', change),
    changed(change) {
      const { roomId, seq, changeSeq } = change;
      feeds.publishChange('room:beat', change, { roomId, lastSeq: seq, lastChange: changeSeq });
    },
    roomUpdated: (room) => void io.to(roomKey(room.id)).emit('room:updated', room),
    invited: (invitation) => void io.to(userKey(invitation.user.id)).emit('invitation', invitation),
    presence(userId, roomIds, visible) {
      if (roomIds.length === 0 || !board.isOnline(userId)) return;
      const change = { userId, online: visible };
      io.to(roomIds.map(roomKey)).except(userKey(userId)).emit('presence', change);
    },
    leave(roomId, userId, reason, until = null) {
      const left = { roomId, reason, until: until?.toISOString() ?? null };
      io.to(userKey(userId)).emit('room:left', left);
      io.in(userKey(userId)).socketsLeave(roomKey(roomId));
    },
    async evictDeparted() {
      const { rooms, sids } = io.of('/').adapter;
      for (const { room_id, user_id, reason, until } of await recentDepartures(db, DEPARTED_SECONDS)) {
        for (const socketId of rooms.get(userKey(user_id)) ?? []) {
          if (!sids.get(socketId)?.has(roomKey(room_id))) continue;
          const left = { roomId: room_id, reason, until: until?.toISOString() ?? null };
          const socket = io.of('/').sockets.get(socketId);
          socket?.emit('room:left', left);
          socket?.leave(roomKey(room_id));
        }
      }
    },
    online: (userIds) => userIds.filter((userId) => board.isOnline(userId)),
    notify(userId, notification) {
      // The namespace has a map of its own, which Socket.IO's types do not follow.
      (io.of(NOTIFICATIONS) as unknown as { to(key: string): { emit(event: string, data: unknown): void } })
        .to(userKey(userId))
        .emit('notification', notification);
    },
    endSession: (sessionId, reason) => end({ sessionId, reason }),
    endUser: (userId, reason) => end({ userId, reason }),
    async start() {
      stopListening = await ephemeral.subscribe(ENDED, (text) =>
        connections.end(JSON.parse(text) as SessionEnd),
      );
      await feeds.start();
      await board.start();
    },
    async stop() {
      await stopListening();
      await board.stop();
      await feeds.stop();
    },
  };
}
