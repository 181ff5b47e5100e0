import { io as socketIo } from 'socket.io-client';
import type { Message, MessageChange } from '../../shared/contracts/chat.ts';
import { seededRandom } from '../../shared/seeded-random.ts';
import { ChatClient, type ChatClientOptions, ChatRefusal } from '../../shared/web/chat-client.ts';
import type { History, LiveRecord, Register, SendRecord } from './chat-history.ts';

/** Many clients who write, edit, delete and react in some rooms while everything breaks, and a record of all of it. */

export interface StormPerson {
  id: string;
  token: string;
}

export interface StormWorld {
  people: StormPerson[];
  roomIds: string[];
  /** The address that client number so-and-so connects to. */
  addressOf(client: number): string;
  /** GET over HTTP, past all that is broken; the body. */
  // biome-ignore lint/suspicious/noExplicitAny: rooms and pages of messages
  read(as: StormPerson, path: string): Promise<any>;
  /** Gets somebody a fresh token. */
  renew?(person: StormPerson): Promise<void>;
}

export interface StormOptions {
  seed: number;
  /** Clients that write; each sees, too. */
  writers: number;
  /** Clients that only see. */
  readers: number;
  /** Whether the answer to a send gets lost on its way. */
  losesAnswer?: () => boolean;
  /** How the readers keep their rooms; as the client of shared/web does, unless said. */
  reader?: (io: ChatClientOptions['io'], url: string, person: StormPerson, roomIds: string[]) => StormView;
}

/** A client's rooms as it holds them. */
export interface StormView {
  messages(roomId: string): Message[];
  told(roomId: string): number[];
  /** Whether it has everything up to these numbers. */
  has(roomId: string, seq: number, change: number): boolean;
  close(): void;
}

const EMOJI = ['👍', '🎉', '❤️', '😀', '🚀', '👀', '🔥', '🙏', '💯', '🤔'];
/** Answers that leave open whether something has happened. */
const PASSING = new Set([
  'no-answer',
  'upstream-unavailable',
  'upstream-timeout',
  'bad-gateway',
  'rate-limited',
]);
const SETTLE_MS = 45_000;
const PAGE = 100;
const CLIENT_OPTIONS = {
  keep: Number.POSITIVE_INFINITY,
  answerMs: 3_000,
  backOff: { first: 50, most: 500 },
} as const;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class ChatStorm {
  readonly #sends: SendRecord[] = [];
  readonly #texts = new Map<string, Register>();
  readonly #deletions = new Map<string, Register>();
  readonly #reactions = new Map<string, Register>();
  readonly #live: LiveRecord[] = [];
  readonly #surprises: string[] = [];
  readonly #views: { client: string; person: StormPerson; view: StormView }[] = [];
  /** Ids of messages to reply and react to. */
  readonly #known = new Map<string, string[]>();
  #clients: ChatClient[] = [];
  #writing: Promise<void>[] = [];
  #stopped = false;
  acknowledged = 0;
  /** Changes to messages that were acknowledged. */
  changed = 0;
  /** How often clients have found something missing. */
  gaps = 0;

  constructor(
    private readonly world: StormWorld,
    private readonly options: StormOptions,
  ) {
    for (const roomId of world.roomIds) this.#known.set(roomId, []);
  }

  /** Connects everybody, and lets the writers begin. */
  async start(): Promise<void> {
    const { writers, readers, reader } = this.options;
    const joins: Promise<unknown>[] = [];
    for (let index = 0; index < writers + readers; index++) {
      const person = this.world.people[index % this.world.people.length]!;
      const name = `${index < writers ? 'writer' : 'reader'} ${index}`;
      const io = this.#tapped(name);
      const url = this.world.addressOf(index);
      if (index >= writers && reader) {
        this.#views.push({ client: name, person, view: reader(io, url, person, this.world.roomIds) });
        continue;
      }
      const token = async (renew: boolean): Promise<string> => {
        if (renew) await this.world.renew?.(person);
        return person.token;
      };
      const client = new ChatClient({ ...CLIENT_OPTIONS, io, url, token });
      client.on('gap', () => this.gaps++);
      client.on('left', ({ roomId, reason }) =>
        this.#surprises.push(`${name} is out of ${roomId}: ${reason}`),
      );
      this.#clients.push(client);
      this.#views.push({ client: name, person, view: viewOf(client) });
      for (const roomId of this.world.roomIds) joins.push(client.join(roomId, { after: 0, changesAfter: 0 }));
    }
    await Promise.all(joins);
    this.#writing = this.#clients.slice(0, writers).map((client, writer) => this.#write(client, writer));
  }

  /** Resolves when so many more messages have been acknowledged. */
  async untilAcknowledged(count: number, deadlineMs: number): Promise<void> {
    const goal = this.acknowledged + count;
    for (const started = Date.now(); this.acknowledged < goal; await sleep(20)) {
      if (Date.now() - started < deadlineMs) continue;
      throw new Error(
        `only ${count - (goal - this.acknowledged)} of ${count} messages within ${deadlineMs / 1000} s`,
      );
    }
  }

  /** Lets the writers end, waits until every client has everything or the time is over, and reads the store. */
  async finish(): Promise<History> {
    this.#stopped = true;
    const ended = await Promise.race([Promise.all(this.#writing), sleep(SETTLE_MS)]);
    if (!ended) this.#surprises.push(`a writer has had no answer for ${SETTLE_MS / 1000} s`);
    const deadline = Date.now() + SETTLE_MS;
    for (const roomId of this.world.roomIds) {
      const room = await this.world.read(this.world.people[0]!, `/api/chat/rooms/${roomId}`);
      const done = () =>
        this.#views.every(({ view }) => view.has(roomId, room.lastSeq as number, room.lastChange as number));
      while (!done() && Date.now() < deadline) await sleep(50);
    }
    const stored = new Map<string, Message[]>();
    for (const person of this.world.people)
      for (const roomId of this.world.roomIds)
        stored.set(`${person.id} ${roomId}`, await this.#readRoom(person, roomId));
    const views = this.#views.flatMap(({ client, person, view }) =>
      this.world.roomIds.map((roomId) => ({
        client,
        userId: person.id,
        roomId,
        messages: view.messages(roomId),
        told: view.told(roomId),
      })),
    );
    return {
      sends: this.#sends,
      texts: this.#texts,
      deletions: this.#deletions,
      reactions: this.#reactions,
      live: this.#live,
      views,
      stored,
      surprises: this.#surprises,
    };
  }

  close(): void {
    this.#stopped = true;
    for (const { view } of this.#views) view.close();
  }

  async #readRoom(person: StormPerson, roomId: string): Promise<Message[]> {
    const messages: Message[] = [];
    for (let after = 0; ; after = messages.at(-1)!.seq) {
      const path = `/api/chat/rooms/${roomId}/messages?after=${after}&limit=${PAGE}`;
      const { items } = (await this.world.read(person, path)) as { items: Message[] };
      messages.push(...items);
      if (items.length < PAGE) return messages;
    }
  }

  /** Socket.IO's own client, which notes what comes over each connection before anybody else sees it. */
  #tapped(client: string): ChatClientOptions['io'] {
    return (url, options) => {
      const socket = socketIo(url, options);
      let connection = new Map<string, LiveRecord>();
      socket.on('connect', () => {
        connection = new Map();
      });
      const record = (roomId: string): LiveRecord => {
        const known = connection.get(roomId);
        if (known) return known;
        const made = { client, roomId, messages: [], changes: [] };
        connection.set(roomId, made);
        this.#live.push(made);
        return made;
      };
      socket.on('message', ({ roomId, seq }: Message) => record(roomId).messages.push(seq));
      for (const event of ['message:edited', 'message:deleted', 'reaction', 'thread', 'pin'])
        socket.on(event, ({ roomId, changeSeq }: MessageChange) => record(roomId).changes.push(changeSeq));
      const emitWithAck = socket.emitWithAck.bind(socket);
      socket.emitWithAck = async (event: string, ...input: unknown[]) => {
        const reply: unknown = await emitWithAck(event, ...input);
        if (event === 'message:send' && this.options.losesAnswer?.()) throw new Error('the answer was lost');
        return reply;
      };
      return socket;
    };
  }

  async #write(client: ChatClient, writer: number): Promise<void> {
    const random = seededRandom(this.options.seed * 1_000 + writer);
    const person = this.world.people[writer % this.world.people.length]!;
    const own: { id: string; roomId: string }[] = [];
    const emoji = EMOJI[writer % EMOJI.length]!;
    for (let step = 0; !this.#stopped; step++) {
      const roomId = this.world.roomIds[random(this.world.roomIds.length)]!;
      const known = this.#known.get(roomId)!;
      const kind = known.length === 0 ? 0 : random(100);
      try {
        if (kind < 72 || own.length === 0) {
          const replyTo = kind < 10 && known.length > 0 ? known[random(known.length)]! : null;
          const id = await this.#send(client, person, { writer, step, roomId, replyTo });
          own.push({ id, roomId });
          known.push(id);
          if (known.length > 200) known.shift();
        } else if (kind < 80) {
          const { id } = own[random(own.length)]!;
          const body = `${writer}-${step} edited`;
          await this.#set(client, this.#texts.get(id)!, body, () =>
            client.ask('message:edit', { messageId: id, body }),
          );
        } else if (kind < 84) {
          const { id } = own.splice(random(own.length), 1)[0]!;
          const deletion = this.#register(this.#deletions, id, 'no');
          await this.#set(client, deletion, 'yes', () => client.ask('message:delete', { messageId: id }));
        } else {
          const messageId = known[random(known.length)]!;
          const reaction = this.#register(this.#reactions, `${messageId} ${person.id} ${emoji}`, 'off');
          const on = random(3) > 0;
          await this.#set(client, reaction, on ? 'on' : 'off', () =>
            client.ask(on ? 'reaction:add' : 'reaction:remove', { messageId, emoji }),
          );
        }
      } catch (error) {
        if (this.#stopped && error instanceof ChatRefusal && error.code === 'closed') return;
        this.#surprises.push(`writer ${writer}, step ${step}: ${error}`);
        await sleep(100);
      }
    }
  }

  async #send(
    client: ChatClient,
    person: StormPerson,
    {
      writer,
      step,
      roomId,
      replyTo,
    }: { writer: number; step: number; roomId: string; replyTo: string | null },
  ): Promise<string> {
    const clientId = `${writer}-${step}`;
    const record: SendRecord = {
      writer,
      roomId,
      authorId: person.id,
      clientId,
      body: clientId,
      acknowledged: undefined,
    };
    this.#sends.push(record);
    const { id, seq } = await client.send({ roomId, clientId, body: clientId, replyTo });
    record.acknowledged = { id, seq };
    this.#register(this.#texts, id, clientId);
    this.acknowledged++;
    return id;
  }

  #register(registers: Map<string, Register>, key: string, first: string): Register {
    const known = registers.get(key) ?? { settled: first, unsure: new Set() };
    registers.set(key, known);
    return known;
  }

  /** Asks until there is an answer; a message that somebody has deleted meanwhile refuses. */
  async #set(
    client: ChatClient,
    register: Register,
    value: string,
    ask: () => Promise<unknown>,
  ): Promise<void> {
    for (;;) {
      while (!client.connected) await sleep(20);
      try {
        await ask();
        register.settled = value;
        this.changed++;
        return;
      } catch (error) {
        const code = error instanceof ChatRefusal ? error.code : 'no-answer';
        if (code === 'conflict') return;
        if (!PASSING.has(code)) throw error;
        register.unsure.add(value);
        await sleep(50);
      }
    }
  }
}

function viewOf(client: ChatClient): StormView {
  const told = new Map<string, number[]>();
  client.on('message', ({ roomId, seq }) => {
    const numbers = told.get(roomId) ?? [];
    told.set(roomId, numbers);
    numbers.push(seq);
  });
  return {
    messages: (roomId) => client.room(roomId)?.messages ?? [],
    told: (roomId) => told.get(roomId) ?? [],
    has(roomId, seq, change) {
      const room = client.room(roomId);
      return (room?.seq ?? -1) >= seq && (room?.change ?? -1) >= change;
    },
    close: () => client.close(),
  };
}
