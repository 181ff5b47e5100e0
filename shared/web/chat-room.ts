import type {
  ClientAcks,
  EditedMessage,
  Message,
  MessageChange,
  PinChange,
  ReactionChange,
  ThreadChange,
} from '../contracts/chat.ts';

/** What came before its turn and is kept until then, of each kind. Beyond that the server is asked again. */
const MOST_EARLY = 500;

export type Page = ClientAcks['room:join'];

/** One change to a message, and what it makes of it. */
export interface LiveChange extends MessageChange {
  apply(old: Message): Message;
}

export interface RoomListener {
  /** A message that is new to this client: each once, in the order of `seq`. */
  message(message: Message): void;
  /** A held message is another now. */
  changed(message: Message): void;
  /** Messages up to this number have been removed by retention. */
  removed(upTo: number): void;
}

/**
 * One room as a client holds it: messages in the order of `seq`, changes in the order of `changeSeq`, whatever order
 * and however often they come. Holds the newest `keep` messages.
 */
export class ChatRoom {
  readonly #messages = new Map<number, Message>();
  readonly #early = new Map<number, Message>();
  readonly #earlyChanges = new Map<number, LiveChange>();
  /** The highest numbers heard of: what is between them and `seq`, `change` is missing. */
  #heard = { seq: 0, change: 0 };
  /** Everything up to here is known; undefined before the first page. */
  seq: number | undefined;
  change: number | undefined;

  constructor(
    readonly id: string,
    private readonly me: () => string,
    private readonly keep: number,
    private readonly listener: RoomListener,
  ) {}

  /** The held messages, oldest first. */
  get messages(): Message[] {
    return [...this.#messages.values()];
  }

  /** Whether something is missing. */
  get behind(): boolean {
    return this.seq === undefined || this.#heard.seq > this.seq || this.#heard.change > (this.change ?? 0);
  }

  /** Goes on from numbers that the caller remembers. */
  begin(seq: number, change: number): void {
    this.seq = seq;
    this.change = change;
  }

  /** Forgets all that is held: the next page is the newest one. */
  reset(): void {
    this.#messages.clear();
    this.#early.clear();
    this.#earlyChanges.clear();
    this.seq = undefined;
    this.change = undefined;
  }

  /** A reply to `room:join`. Without numbers of its own the room begins where the page does. */
  takePage(page: Page): void {
    if (this.seq === undefined) this.seq = (page.messages[0]?.seq ?? page.lastSeq + 1) - 1;
    this.change ??= page.lastChange;
    this.removeBelow(page.room.firstSeq);
    // What was there when the page was read comes with a later one, and with the changes up to `lastChange` in it.
    if (page.hasMore) for (const seq of this.#early.keys()) if (seq <= page.lastSeq) this.#early.delete(seq);
    for (const message of page.messages) {
      if (message.seq === this.seq + 1) this.#append(message);
      // It has come live meanwhile, as it was at first.
      else this.#replace(message);
    }
    for (const message of page.changes) this.#replace(message);
    this.change = Math.max(this.change, page.lastChange);
    this.#heard.seq = Math.max(this.#heard.seq, page.lastSeq);
    this.#drain();
  }

  takeMessage(message: Message): void {
    this.hear(message.seq, 0);
    if (this.seq !== undefined && message.seq <= this.seq) return;
    if (this.#early.size < MOST_EARLY || message.seq === (this.seq ?? 0) + 1)
      this.#early.set(message.seq, newer(message, this.#early.get(message.seq)));
    this.#drain();
  }

  takeChange(change: LiveChange): void {
    this.hear(0, change.changeSeq);
    if (this.change !== undefined && change.changeSeq <= this.change) return;
    if (this.#earlyChanges.size < MOST_EARLY || change.changeSeq === (this.change ?? 0) + 1)
      this.#earlyChanges.set(change.changeSeq, change);
    this.#drain();
  }

  /** The server says how far the room is. */
  hear(seq: number, change: number): void {
    this.#heard.seq = Math.max(this.#heard.seq, seq);
    this.#heard.change = Math.max(this.#heard.change, change);
  }

  removeBelow(firstSeq: number): void {
    const upTo = firstSeq - 1;
    let removed = false;
    for (const seq of this.#messages.keys()) {
      if (seq > upTo) break;
      removed = this.#messages.delete(seq);
    }
    if (this.seq !== undefined && this.seq < upTo) this.seq = upTo;
    if (removed) this.listener.removed(upTo);
  }

  /** How a reaction changes a message for this client: which are its own is known from `userId` only. */
  reaction(change: ReactionChange): LiveChange {
    return liveChange(change, (old) => {
      const mine = new Map(old.reactions.map((reaction) => [reaction.emoji, reaction.mine]));
      if (change.userId === this.me()) mine.set(change.emoji, change.added);
      const reactions = change.reactions.map(({ emoji, count }) => ({
        emoji,
        count,
        mine: mine.get(emoji) ?? false,
      }));
      return { ...old, reactions };
    });
  }

  #append(next: Message): void {
    const message = newer(next, this.#early.get(next.seq));
    this.seq = message.seq;
    this.#messages.set(message.seq, message);
    if (this.#messages.size > this.keep) this.#messages.delete(this.#messages.keys().next().value!);
    this.listener.message(message);
  }

  #replace(message: Message): void {
    const old = this.#messages.get(message.seq);
    // What is held may come from a page that was read later.
    if (!old || message.changeSeq <= old.changeSeq) return;
    this.#messages.set(message.seq, message);
    this.listener.changed(message);
  }

  #drain(): void {
    if (this.seq === undefined || this.change === undefined) return;
    for (let next = this.#early.get(this.seq + 1); next; next = this.#early.get(this.seq + 1))
      this.#append(next);
    for (;;) {
      const next = this.#earlyChanges.get(this.change + 1);
      // Its message is missing still.
      if (!next || next.seq > this.seq) break;
      this.change = next.changeSeq;
      const old = this.#messages.get(next.seq);
      if (old) this.#replace({ ...next.apply(old), changeSeq: next.changeSeq });
    }
    for (const seq of this.#early.keys()) if (seq <= this.seq) this.#early.delete(seq);
    for (const number of this.#earlyChanges.keys())
      if (number <= this.change) this.#earlyChanges.delete(number);
  }
}

const newer = (one: Message, other: Message | undefined): Message =>
  other && other.changeSeq > one.changeSeq ? other : one;

const liveChange = (change: MessageChange, apply: (old: Message) => Message): LiveChange => ({
  roomId: change.roomId,
  seq: change.seq,
  changeSeq: change.changeSeq,
  apply,
});

/** An edit leaves the reactions alone. */
export const editChange = (message: EditedMessage): LiveChange =>
  liveChange(message, (old) => ({ ...message, reactions: old.reactions }));
export const deletion = (message: Message): LiveChange => liveChange(message, () => message);
export const threadChange = (change: ThreadChange): LiveChange =>
  liveChange(change, (old) => ({ ...old, replyCount: change.replyCount, lastReplyAt: change.lastReplyAt }));
export const pinChange = (change: PinChange): LiveChange =>
  liveChange(change, (old) => ({ ...old, pinnedAt: change.pinnedAt }));
