import type { Server, Socket } from 'socket.io';
import type {
  ClientToServer,
  NotificationsToClient,
  ServerToClient,
} from '../../../shared/contracts/chat.ts';

/** The two namespaces and the Socket.IO rooms in them. */
export type ChatServer = Server<ClientToServer, ServerToClient>;
export type ChatSocket = Socket<ClientToServer, ServerToClient>;
export type NotificationsSocket = Socket<ClientToServer, NotificationsToClient>;
/** What a socket of either namespace can do. */
export type AnySocket = Socket<ClientToServer, Pick<ServerToClient, 'session:ended'>>;

export const NOTIFICATIONS = '/notifications';

/** Of rooms' keys, and of nothing else. */
export const ROOM_PREFIX = 'room:';
export const roomKey = (roomId: string): string => `${ROOM_PREFIX}${roomId}`;
/** Every socket of a user, on every process. */
export const userKey = (userId: string): string => `user:${userId}`;
