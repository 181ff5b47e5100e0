import type { EditedMessage, Message, ReactionChange } from '../../shared/contracts/chat.ts';
import type { Context } from '../../shared/http/context.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { ChatTables } from './store/tables.ts';

export type ChatContext = Context<ChatTables>;

/** What chat's operations need beside the context. */
export interface ChatTools {
  live: Live;
  ephemeral: EphemeralStore;
  limitScale: number;
}

/** Tells connected clients, on every process, best effort: what counts is in the database. Call after the commit. */
export interface Live {
  message(message: Message): void;
  edited(message: EditedMessage): void;
  deleted(message: Message): void;
  reaction(change: ReactionChange): void;
  typing(typing: { roomId: string; userId: string; displayName: string }): void;
  read(read: { roomId: string; userId: string; seq: number }): void;
  /** Takes a user's sockets out of a room. */
  leave(roomId: string, userId: string): void;
  /** Those of `userIds` who are connected, to whichever process. */
  online(userIds: string[]): string[];
}
