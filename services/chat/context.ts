import type {
  EditedMessage,
  Invitation,
  Message,
  MessageChange,
  PinChange,
  ReactionChange,
  RoomSettings,
  ThreadChange,
} from '../../shared/contracts/chat.ts';
import type { Context } from '../../shared/http/context.ts';
import type { EphemeralStore } from '../../shared/ports/ephemeral-store.ts';
import type { SendLimit } from './operations/send-limit.ts';
import type { SendQueue } from './operations/send-message.ts';
import type { ChatTables } from './store/tables.ts';
import type { WordFilter } from './word-filter/word-filter.ts';

export type ChatContext = Context<ChatTables>;

/** What chat's operations need beside the context. */
export interface ChatTools {
  live: Live;
  ephemeral: EphemeralStore;
  filter: WordFilter;
  /** Where messages wait for the next transaction of this process. */
  sendQueue: SendQueue;
  sendLimit: SendLimit;
  limitScale: number;
}

/** Tells connected clients, on every process, best effort: what counts is in the database. Call after the commit. */
export interface Live {
  /** New ones, in the order of their numbers. */
  messages(messages: Message[]): void;
  edited(message: EditedMessage): void;
  deleted(message: Message): void;
  reaction(change: ReactionChange): void;
  typing(typing: { roomId: string; userId: string; displayName: string }): void;
  /** To the user's own devices, and to the room if it has receipts. */
  read(read: { roomId: string; userId: string; seq: number }, receipts: boolean): void;
  thread(change: ThreadChange): void;
  pin(change: PinChange): void;
  /** A change that is not the same for everybody: clients hear that there is one, and each asks for what it may see. */
  changed(change: MessageChange): void;
  roomUpdated(room: RoomSettings): void;
  invited(invitation: Invitation): void;
  /** Somebody who is connected hides that, or no longer does: the rooms are told. */
  presence(userId: string, roomIds: string[], visible: boolean): void;
  /** Tells a user's sockets that they are out of a room, and takes them out. */
  leave(roomId: string, userId: string, reason: string, until?: Date | null): void;
  /** Those of `userIds` who are connected, to whichever process. */
  online(userIds: string[]): string[];
}
