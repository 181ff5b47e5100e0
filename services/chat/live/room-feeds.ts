import type { Message, MessageChange } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';
import type { ChatMetrics } from '../metrics.ts';
import type { JoinPage } from '../operations/join-room.ts';
import { type ChatServer, type ChatSocket, ROOM_PREFIX, roomKey } from './names.ts';

const CHANNEL = 'chat:messages';
/** How long a message or change waits for those before it, in milliseconds. Then the database is asked. */
const GAP_MS = 50;
const FILL = 200;

/** The last numbers given in a room. */
export interface RoomNumbers {
  lastSeq: number;
  lastChange: number;
}

/** How feeds read the database. */
export interface FeedSource {
  numbersOf(roomIds: string[]): Promise<Map<string, RoomNumbers>>;
  messagesAfter(roomId: string, seq: number, limit: number): Promise<Message[]>;
}

/** Sends packets, encoded as Socket.IO's protocol says, to this process's sockets in a Socket.IO room. */
export type Broadcast = (room: string, packets: string[]) => void;

/** What goes out to a room: encoded, with what it numbers. A beat concerns whoever hears it. */
interface Packet {
  of: 'message' | 'change' | 'beat';
  number: number;
  text: string;
}

interface Feed {
  /** The number of the last message emitted here; undefined until the room's has been read. */
  delivered: number | undefined;
  /** The same of the last change. */
  changed: number;
  ready: Promise<void>;
  /** Messages that came before their turn, as JSON. */
  pending: Map<number, string>;
  pendingChanges: Map<number, { seq: number; packet: string }>;
  joining: number;
  /** What went out while sockets are joining: what their pages may lack. */
  recent: Packet[];
  gapTimer: ReturnType<typeof setTimeout> | undefined;
  filling: Promise<void> | undefined;
  /** What the last look into the database has shown, and what clients were told of it. */
  seen: RoomNumbers;
  told: RoomNumbers;
}

/**
 * Live messages on this process: each room's in the order of `seq`, without gaps, once for each socket; and changes to
 * them in the order of `changeSeq`, each after its message. Both are told to every process over the ephemeral store;
 * what comes early waits for what is before it. The store may lose any of them: messages that never come are read from
 * the database; changes that never come are left out, and clients see by the numbers that they have to ask.
 */
export class RoomFeeds {
  readonly #node = newId();
  readonly #feeds = new Map<string, Feed>();
  #stopListening: () => Promise<void> = async () => {};

  constructor(
    private readonly io: ChatServer,
    private readonly broadcast: Broadcast,
    private readonly source: FeedSource,
    private readonly ephemeral: EphemeralStore,
    private readonly log: Log,
    private readonly metrics: ChatMetrics,
  ) {}

  async start(): Promise<void> {
    this.#stopListening = await this.ephemeral.subscribe(CHANNEL, (text) => this.#hear(text));
    this.io.of('/').adapter.on('delete-room', (key: string) => {
      if (key.startsWith(ROOM_PREFIX)) this.#dropIfEmpty(key.slice(ROOM_PREFIX.length));
    });
  }

  async stop(): Promise<void> {
    for (const feed of this.#feeds.values()) clearTimeout(feed.gapTimer);
    this.#feeds.clear();
    await this.#stopListening();
  }

  /** Messages committed by this process, those of a room in the order of `seq`. */
  publish(messages: Message[]): void {
    if (messages.length === 0) return;
    this.#tell(messages.map((message) => `m ${message.roomId} ${message.seq} ${JSON.stringify(message)}`));
  }

  /** A change committed by this process; `told` is what clients hear of it. */
  publishChange(event: string, change: MessageChange, told: object = change): void {
    const { roomId, changeSeq, seq } = change;
    this.#tell([`c ${roomId} ${changeSeq} ${seq} 2${JSON.stringify([event, told])}`]);
  }

  /**
   * Puts a socket into a room: `answer` gives it the page that `readPage`, which authorises, has read, and right after
   * that begins what is newer than the page, each once and in order. For a socket that is in the room already, live
   * messages just go on; what it heard while it asked is in the page too.
   */
  async join(
    socket: ChatSocket,
    roomId: string,
    readPage: () => Promise<JoinPage>,
    answer: (page: JoinPage) => void,
  ): Promise<JoinPage> {
    const feed = this.#open(roomId);
    const key = roomKey(roomId);
    const from = feed.recent.length;
    feed.joining++;
    try {
      await feed.ready;
      const page = await readPage();
      // What the page has must not come live as well: it is emitted to the others first. What was being read
      // already may have missed it; what a second look does not find has been removed by retention.
      for (let looks = 0; looks < 2 && feed.delivered! < page.room.lastSeq; looks++)
        await this.#fill(roomId, feed);
      const news = feed.recent.slice(from).filter((packet) => isNews(packet, page.room));
      if (socket.rooms.has(key)) {
        append(page, news);
        answer(page);
      } else {
        answer(page);
        for (const packet of news) socket.emit(...contentOf(packet));
        void socket.join(key);
      }
      return page;
    } finally {
      feed.joining--;
      if (feed.joining === 0) feed.recent = [];
      this.#dropIfEmpty(roomId);
    }
  }

  /**
   * Looks for what nobody told this process about, and tells clients in rooms that have moved where they should be
   * (`room:beat`). Called regularly; with a period of P it takes at most 2 P until a lost change is noticed.
   */
  async heal(): Promise<void> {
    const numbers = await this.source.numbersOf([...this.#feeds.keys()]);
    for (const [roomId, now] of numbers) {
      const feed = this.#feeds.get(roomId);
      if (feed?.delivered === undefined) continue;
      if (now.lastSeq > feed.delivered) await this.#fill(roomId, feed);
      // Was there at the last look and has still not come: it is lost.
      if (feed.changed < feed.seen.lastChange) this.#skipChanges(roomId, feed, feed.seen.lastChange);
      feed.seen = now;
      this.#beat(roomId, feed);
    }
  }

  #beat(roomId: string, feed: Feed): void {
    const beat = { roomId, lastSeq: feed.delivered!, lastChange: feed.changed };
    if (beat.lastSeq === feed.told.lastSeq && beat.lastChange === feed.told.lastChange) return;
    feed.told = beat;
    this.metrics.beats.inc();
    const text = `2${JSON.stringify(['room:beat', beat])}`;
    this.#send(roomId, feed, [{ of: 'beat', number: beat.lastChange, text }]);
  }

  #open(roomId: string): Feed {
    const known = this.#feeds.get(roomId);
    if (known) return known;
    const nothing: RoomNumbers = { lastSeq: 0, lastChange: 0 };
    const feed: Feed = {
      delivered: undefined,
      changed: 0,
      ready: Promise.resolve(),
      pending: new Map(),
      pendingChanges: new Map(),
      joining: 0,
      recent: [],
      gapTimer: undefined,
      filling: undefined,
      seen: nothing,
      told: nothing,
    };
    this.#feeds.set(roomId, feed);
    feed.ready = this.source.numbersOf([roomId]).then(
      (found) => {
        const numbers = found.get(roomId) ?? nothing;
        Object.assign(feed, { seen: numbers, told: numbers, changed: numbers.lastChange });
        feed.delivered = numbers.lastSeq;
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

  /** One text for all: lines of `m <room> <seq> <message>` and `c <room> <changeSeq> <seq> <packet>`. */
  #tell(lines: string[]): void {
    this.#offer(lines);
    this.ephemeral.publish(CHANNEL, [this.#node, ...lines].join('\n')).catch((error: unknown) => {
      this.log.warn(
        { reason: String(error) },
        'messages were not told to the other processes; they will find them',
      );
    });
  }

  #hear(text: string): void {
    // What this process said itself is not for it.
    if (text.startsWith(this.#node)) return;
    this.#offer(text.split('\n').slice(1));
  }

  /** Takes what concerns the rooms that somebody here is in; the JSON in it is not read but passed on. */
  #offer(lines: string[]): void {
    const moved = new Map<string, Feed>();
    for (const line of lines) {
      const roomId = line.slice(2, 38);
      const feed = this.#feeds.get(roomId);
      if (!feed) continue;
      const [number, rest] = takeNumber(line, 39);
      if (line.startsWith('m')) {
        if (feed.delivered === undefined || number > feed.delivered)
          feed.pending.set(number, line.slice(rest));
      } else if (feed.delivered === undefined || number > feed.changed) {
        const [seq, packet] = takeNumber(line, rest);
        feed.pendingChanges.set(number, { seq, packet: line.slice(packet) });
      }
      if (feed.delivered !== undefined) moved.set(roomId, feed);
    }
    for (const [roomId, feed] of moved) this.#drain(roomId, feed);
  }

  /** Emits what is due; what is not waits for a moment, until the database is asked. */
  #drain(roomId: string, feed: Feed): void {
    const packets: Packet[] = [];
    const { pending, pendingChanges } = feed;
    for (let json = pending.get(feed.delivered! + 1); json; json = pending.get(feed.delivered! + 1)) {
      const number = ++feed.delivered!;
      pending.delete(number);
      packets.push({ of: 'message', number, text: `2["message",${json}]` });
    }
    for (;;) {
      const change = pendingChanges.get(feed.changed + 1);
      if (!change || change.seq > feed.delivered!) break;
      pendingChanges.delete(++feed.changed);
      packets.push({ of: 'change', number: feed.changed, text: change.packet });
    }
    if (packets.length > 0) this.#deliver(roomId, feed, packets);
    for (const seq of pending.keys()) if (seq <= feed.delivered!) pending.delete(seq);
    for (const number of pendingChanges.keys()) if (number <= feed.changed) pendingChanges.delete(number);
    if (pending.size + pendingChanges.size > 0) feed.gapTimer ??= this.#closeGapLater(roomId, feed);
  }

  #closeGapLater(roomId: string, feed: Feed): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      feed.gapTimer = undefined;
      if (this.#feeds.get(roomId) !== feed) return;
      const { pending, pendingChanges } = feed;
      const early = [...pendingChanges.values()].some(({ seq }) => seq > feed.delivered!);
      if (pending.size > 0 || early) {
        this.#fill(roomId, feed).catch((error: unknown) => {
          this.log.warn({ roomId, reason: String(error) }, 'a gap in a room was not closed; heal() will');
        });
      } else if (pendingChanges.size > 0) {
        this.#skipChanges(roomId, feed, Math.min(...pendingChanges.keys()) - 1);
      }
    }, GAP_MS);
  }

  /** Changes up to this number that have not come are lost; those that have come go out. */
  #skipChanges(roomId: string, feed: Feed, upTo: number): void {
    const known = [...feed.pendingChanges].filter(([number]) => number <= upTo).sort(([a], [b]) => a - b);
    for (const [number] of known) feed.pendingChanges.delete(number);
    this.metrics.lostChanges.inc(Math.max(0, upTo - feed.changed - known.length));
    feed.changed = Math.max(feed.changed, upTo);
    if (known.length > 0) {
      const packets = known.map(([number, { packet }]): Packet => ({ of: 'change', number, text: packet }));
      this.#deliver(roomId, feed, packets);
    }
    this.#drain(roomId, feed);
  }

  #deliver(roomId: string, feed: Feed, packets: Packet[]): void {
    this.#send(roomId, feed, packets);
    const sockets = this.io.of('/').adapter.rooms.get(roomKey(roomId))?.size ?? 0;
    this.metrics.deliveries.inc(packets.length * sockets);
  }

  #send(roomId: string, feed: Feed, packets: Packet[]): void {
    // Who has joined since the room was dropped hears of it from its new feed.
    if (this.#feeds.get(roomId) !== feed) return;
    if (feed.joining > 0) feed.recent.push(...packets);
    this.broadcast(
      roomKey(roomId),
      packets.map(({ text }) => text),
    );
  }

  #fill(roomId: string, feed: Feed): Promise<void> {
    feed.filling ??= (async () => {
      for (;;) {
        const messages = await this.source.messagesAfter(roomId, feed.delivered!, FILL);
        for (const message of messages) {
          if (message.seq <= feed.delivered! || feed.pending.has(message.seq)) continue;
          this.metrics.recoveredMessages.inc();
          feed.pending.set(message.seq, JSON.stringify(message));
        }
        this.#drain(roomId, feed);
        if (messages.length < FILL) return;
      }
    })().finally(() => {
      feed.filling = undefined;
    });
    return feed.filling;
  }
}

/** Whether a packet has what a page of these numbers has not. */
const isNews = ({ of, number }: Packet, { lastSeq, lastChange }: RoomNumbers): boolean =>
  of === 'beat' || number > (of === 'message' ? lastSeq : lastChange);

const contentOf = ({ text }: Packet) => JSON.parse(text.slice(1)) as ['message', Message];

/** Adds the messages that follow right after the page's. */
function append(page: JoinPage, packets: Packet[]): void {
  for (const packet of packets) {
    const next = (page.messages.at(-1)?.seq ?? page.room.lastSeq) + 1;
    if (packet.of === 'message' && packet.number === next) page.messages.push(contentOf(packet)[1]);
  }
}

/** The digits at `start`, and where what follows the space after them begins. */
function takeNumber(line: string, start: number): [value: number, next: number] {
  const end = line.indexOf(' ', start);
  return [Number(line.slice(start, end)), end + 1];
}
