import type { Server } from 'socket.io';

/** Joins this process's Socket.IO server to those of the other processes; the embedded mode has no others. */
export interface SocketAdapter {
  attach(io: Server): void;
  ready(): Promise<void>;
  close(): Promise<void>;
}
