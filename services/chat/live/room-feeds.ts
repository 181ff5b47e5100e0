import type { Message } from '../../../shared/contracts/chat.ts';
import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import type { JoinPage } from '../operations/join-room.ts';
import { type ChatServer, type ChatSocket, roomKey } from './names.ts';

const CHANNEL = 'chat:messages';
/** How long a message waits for those before it before they are read from the database, in milliseconds. */
const GAP_MS = 50;
const FILL = 200;

interface Feed {
  /** The number of the last message emitted here; undefined until the room's has been read. */
  delivered: number | undefined;
  ready: Promise<void>;
  /** Messages that came before their turn. */
  pending: Map<number, Message>;
  /** Sockets whose page reaches further than `delivered`: up to there they must not get anything live. */
  pageReaches: Map<string, number>;
  joining: number;
  gapTimer: ReturnType<typeof setTimeout> | undefined;
  filling: Promise<void> | undefined;
}

/** How feeds read the database. */
export interface FeedSource {
  lastSeqOf(roomIds: string[]): Promise<Map<string, number>>;
  messagesAfter(roomId: string, seq: number, limit: number): Promise<Message[]>;
}

/**
 * Live messages on this process: each room's in the order of `seq`, without gaps, once for each socket. New
 * messages are told to every process over the ephemeral store; one that comes early waits for those before it,
 * and what never comes is read from the database, so that the store may lose any of them.
 */
export class RoomFeeds {
  readonly #feeds = new Map<string, Feed>();
  #stopListening: () => Promise<void> = async () => {};

  constructor(
    private readonly io: ChatServer,
    private readonly source: FeedSource,
    private readonly ephemeral: EphemeralStore,
    private readonly log: Log,
  ) {}

  async start(): Promise<void> {
    this.#stopListening = await this.ephemeral.subscribe(CHANNEL, (text) =>
      this.#offer(JSON.parse(text) as Message),
    );
    this.io.of('/').adapter.on('delete-room', (key: string) => {
      if (key.startsWith('room:')) this.#dropIfEmpty(key.slice('room:'.length));
    });
  }

  async stop(): Promise<void> {
    for (const feed of this.#feeds.values()) clearTimeout(feed.gapTimer);
    this.#feeds.clear();
    await this.#stopListening();
  }

  /** A message committed by this process. */
  publish(message: Message): void {
    this.#offer(message);
    this.ephemeral.publish(CHANNEL, JSON.stringify(message)).catch((error: unknown) => {
      this.log.warn(
        { reason: String(error) },
        'a message was not told to the other processes; they will find it',
      );
    });
  }

  /**
   * Puts a socket into a room so that live messages begin exactly where its page ends. `readPage` authorises.
   * A page with `hasMore` after a number ends earlier: then the rest is the client's to ask for.
   */
  async join(
    socket: ChatSocket,
    roomId: string,
    after: number | undefined,
    readPage: (after: number | undefined) => Promise<JoinPage>,
  ): Promise<JoinPage> {
    const feed = this.#open(roomId);
    feed.joining++;
    try {
      await feed.ready;
      const page = await readPage(after);
      const wantsAll = after === undefined || !page.hasMore;
      while (wantsAll && feed.delivered! > page.upTo) {
        // Some were emitted since the page was read, before this socket was in: they belong to the page.
        const more = await readPage(page.upTo);
        if (more.messages.length === 0) break;
        page.messages.push(...more.messages);
        page.upTo = more.upTo;
        page.room = more.room;
      }
      void socket.join(roomKey(roomId));
      if (page.upTo > feed.delivered!) feed.pageReaches.set(socket.id, page.upTo);
      return page;
    } finally {
      feed.joining--;
      this.#dropIfEmpty(roomId);
    }
  }

  /** Looks for messages nobody told this process about. Called regularly. */
  async heal(): Promise<void> {
    const last = await this.source.lastSeqOf([...this.#feeds.keys()]);
    for (const [roomId, seq] of last) {
      const feed = this.#feeds.get(roomId);
      if (feed?.delivered !== undefined && seq > feed.delivered) await this.#fill(roomId, feed);
    }
  }

  #open(roomId: string): Feed {
    const known = this.#feeds.get(roomId);
    if (known) return known;
    const feed: Feed = {
      delivered: undefined,
      ready: Promise.resolve(),
      pending: new Map(),
      pageReaches: new Map(),
      joining: 0,
      gapTimer: undefined,
      filling: undefined,
    };
    this.#feeds.set(roomId, feed);
    feed.ready = this.source.lastSeqOf([roomId]).then(
      (last) => {
        feed.delivered = last.get(roomId) ?? 0;
        this.#drain(roomId, feed);
      },
      (error: unknown) => {
        this.#feeds.delete(roomId);
        throw error;
      },
    );
    feed.ready.catch(() => {}); // joiners wait for it and get the error
    return feed;
  }

  #dropIfEmpty(roomId: string): void {
    const feed = this.#feeds.get(roomId);
    if (!feed || feed.joining > 0 || this.io.of('/').adapter.rooms.has(roomKey(roomId))) return;
    clearTimeout(feed.gapTimer);
    this.#feeds.delete(roomId);
  }

  #offer(message: Message): void {
    const feed = this.#feeds.get(message.roomId);
    if (!feed || (feed.delivered !== undefined && message.seq <= feed.delivered)) return;
    feed.pending.set(message.seq, message);
    if (feed.delivered !== undefined) this.#drain(message.roomId, feed);
  }

  #drain(roomId: string, feed: Feed): void {
    for (
      let next = feed.pending.get(feed.delivered! + 1);
      next;
      next = feed.pending.get(feed.delivered! + 1)
    ) {
      feed.pending.delete(next.seq);
      feed.delivered = next.seq;
      this.#emit(roomId, feed, next);
    }
    for (const seq of feed.pending.keys()) if (seq <= feed.delivered!) feed.pending.delete(seq);
    if (feed.pending.size > 0 && feed.gapTimer === undefined) {
      feed.gapTimer = setTimeout(() => {
        feed.gapTimer = undefined;
        if (feed.pending.size === 0) return;
        this.#fill(roomId, feed).catch((error: unknown) => {
          this.log.warn({ roomId, reason: String(error) }, 'a gap in a room was not closed; will try again');
          if (this.#feeds.get(roomId) === feed) this.#drain(roomId, feed);
        });
      }, GAP_MS);
    }
  }

  #emit(roomId: string, feed: Feed, message: Message): void {
    const skip: string[] = [];
    for (const [socketId, reach] of feed.pageReaches) {
      if (reach >= message.seq) skip.push(socketId);
      if (reach <= message.seq) feed.pageReaches.delete(socketId);
    }
    this.io.local.to(roomKey(roomId)).except(skip).emit('message', message);
  }

  #fill(roomId: string, feed: Feed): Promise<void> {
    feed.filling ??= (async () => {
      for (;;) {
        const messages = await this.source.messagesAfter(roomId, feed.delivered!, FILL);
        for (const message of messages)
          if (message.seq > feed.delivered!) feed.pending.set(message.seq, message);
        this.#drain(roomId, feed);
        if (messages.length < FILL) return;
      }
    })().finally(() => {
      feed.filling = undefined;
    });
    return feed.filling;
  }
}
