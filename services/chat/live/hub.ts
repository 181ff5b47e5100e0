import type { Kysely } from 'kysely';
import type { LiveNotification } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import type { Live } from '../context.ts';
import { roomsOf } from '../store/members.ts';
import { messagesIn, withReactions } from '../store/messages.ts';
import { lastSeqOf } from '../store/rooms.ts';
import type { ChatTables } from '../store/tables.ts';
import { type ChatServer, NOTIFICATIONS, roomKey, sessionKey, userKey } from './names.ts';
import { PresenceBoard } from './presence-board.ts';
import { RoomFeeds } from './room-feeds.ts';

/** Everything that reaches connected clients by itself, on every process. */
export interface Hub extends Live {
  feeds: RoomFeeds;
  board: PresenceBoard;
  notify(userId: string, notification: LiveNotification): void;
  /** Tells a session's sockets that it is over and closes them. */
  endSession(sessionId: string, reason: string): void;
  endUser(userId: string, reason: string): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createHub(
  io: ChatServer,
  deps: { db: Kysely<ChatTables>; ephemeral: EphemeralStore; log: Log },
): Hub {
  const { db, ephemeral, log } = deps;
  const feeds = new RoomFeeds(
    io,
    {
      lastSeqOf: (roomIds) => lastSeqOf(db, roomIds),
      messagesAfter: async (roomId, seq, limit) =>
        withReactions(db, await messagesIn(db, roomId, { after: seq, limit }), undefined),
    },
    ephemeral,
    log,
  );

  const board = new PresenceBoard(newId(), ephemeral, log, async (changes) => {
    const rooms = await roomsOf(
      db,
      changes.map((change) => change.userId),
    );
    for (const change of changes) {
      const keys = (rooms.get(change.userId) ?? []).map(roomKey);
      // Every process tells its own sockets; no one needs to hear of himself.
      if (keys.length > 0) io.local.to(keys).except(userKey(change.userId)).emit('presence', change);
    }
  });

  const end = (key: string, reason: string): void => {
    for (const namespace of [io.of('/'), io.of(NOTIFICATIONS)]) {
      namespace.to(key).emit('session:ended', { reason });
      namespace.in(key).disconnectSockets(true);
    }
  };

  return {
    feeds,
    board,
    message: (message) => feeds.publish(message),
    edited: (message) => void io.to(roomKey(message.roomId)).emit('message:edited', message),
    deleted: (message) => void io.to(roomKey(message.roomId)).emit('message:deleted', message),
    reaction: (change) => void io.to(roomKey(change.roomId)).emit('reaction', change),
    typing: (typing) =>
      void io.to(roomKey(typing.roomId)).except(userKey(typing.userId)).emit('typing', typing),
    read: (read) => void io.to([roomKey(read.roomId), userKey(read.userId)]).emit('read', read),
    leave: (roomId, userId) => io.in(userKey(userId)).socketsLeave(roomKey(roomId)),
    online: (userIds) => userIds.filter((userId) => board.isOnline(userId)),
    notify(userId, notification) {
      // The namespace has a map of its own, which Socket.IO's types do not follow.
      (io.of(NOTIFICATIONS) as unknown as { to(key: string): { emit(event: string, data: unknown): void } })
        .to(userKey(userId))
        .emit('notification', notification);
    },
    endSession: (sessionId, reason) => end(sessionKey(sessionId), reason),
    endUser: (userId, reason) => end(userKey(userId), reason),
    async start() {
      await feeds.start();
      await board.start();
    },
    async stop() {
      await board.stop();
      await feeds.stop();
    },
  };
}
