import type { EditedMessage, Message, MessageChange } from '../../shared/contracts/chat.ts';
import { type Client, must } from './test-school.ts';

/** A room as a client keeps it that goes by the contract: it sees gaps by the numbers, and asks for what is missing. */
export class RoomView {
  readonly #messages = new Map<number, Message>();
  /** Every message that came live, in the order of coming: for finding doubles. */
  readonly live: number[] = [];
  seq = 0;
  change = 0;
  /** How often it had to ask because of a gap. */
  gaps = 0;
  #client: Client | undefined;
  #asking: Promise<void> = Promise.resolve();

  constructor(
    readonly roomId: string,
    readonly me: string,
  ) {}

  get messages(): Message[] {
    return [...this.#messages.values()].sort((a, b) => a.seq - b.seq);
  }

  /** Listens on a connection, the first or one after a while, and catches up. */
  async attach(client: Client): Promise<void> {
    this.#client = client;
    client.on('message', (message) => {
      if (message.roomId !== this.roomId) return;
      this.live.push(message.seq);
      if (message.seq === this.seq + 1) this.#take(message);
      else if (message.seq > this.seq) this.#ask();
    });
    client.on('message:edited', (message) => this.#onChange(message, (old) => edited(old, message)));
    client.on('message:deleted', (message) => this.#onChange(message, () => message));
    client.on('thread', (change) =>
      this.#onChange(change, (old) => ({
        ...old,
        replyCount: change.replyCount,
        lastReplyAt: change.lastReplyAt,
      })),
    );
    client.on('pin', (change) => this.#onChange(change, (old) => ({ ...old, pinnedAt: change.pinnedAt })));
    client.on('reaction', (change) =>
      this.#onChange(change, (old) => {
        const mine = new Map(old.reactions.map(({ emoji, mine }) => [emoji, mine]));
        if (change.userId === this.me) mine.set(change.emoji, change.added);
        const reactions = change.reactions.map((reaction) => ({
          ...reaction,
          mine: mine.get(reaction.emoji) ?? false,
        }));
        return { ...old, reactions };
      }),
    );
    client.on('room:beat', ({ roomId, lastSeq, lastChange }) => {
      if (roomId === this.roomId && (lastSeq > this.seq || lastChange > this.change)) this.#ask();
    });
    await this.catchUp();
  }

  async catchUp(): Promise<void> {
    for (;;) {
      const page = await must(this.#client!, 'room:join', {
        roomId: this.roomId,
        after: this.seq,
        changesAfter: this.change,
      });
      for (const message of page.messages) {
        if (message.seq === this.seq + 1) this.#take(message);
        else this.#replace(message);
      }
      for (const message of page.changes) this.#replace(message);
      this.change = Math.max(this.change, page.lastChange);
      if (!page.hasMore && !page.hasMoreChanges) return;
    }
  }

  #take(message: Message): void {
    this.#messages.set(message.seq, message);
    this.seq = message.seq;
  }

  #replace(message: Message): void {
    const old = this.#messages.get(message.seq);
    if (old && message.changeSeq > old.changeSeq) this.#messages.set(message.seq, message);
  }

  #onChange(change: MessageChange, apply: (old: Message) => Message): void {
    if (change.roomId !== this.roomId || change.changeSeq <= this.change) return;
    if (change.changeSeq > this.change + 1) return this.#ask();
    this.change = change.changeSeq;
    const old = this.#messages.get(change.seq);
    // What a page has already may be newer than this.
    if (old && old.changeSeq < change.changeSeq)
      this.#messages.set(change.seq, { ...apply(old), changeSeq: change.changeSeq });
  }

  #ask(): void {
    this.gaps++;
    this.#asking = this.#asking.then(() => this.catchUp()).catch(() => {});
  }
}

/** An edit leaves the reactions alone. */
const edited = (old: Message, message: EditedMessage): Message => ({ ...message, reactions: old.reactions });
