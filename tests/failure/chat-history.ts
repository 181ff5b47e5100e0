import type { Message } from '../../shared/contracts/chat.ts';

/** What the clients of a chat did and saw, and what the store held in the end; and the check of one against the other. */

export interface SendRecord {
  writer: number;
  roomId: string;
  authorId: string;
  clientId: string;
  body: string;
  acknowledged: { id: string; seq: number } | undefined;
}

/** Something that one writer alone sets: the text of a message, a reaction, a deletion. */
export interface Register {
  /** As the last acknowledgement has it. */
  settled: string;
  /** Asked for at some time without an answer: that may happen at any time later. */
  unsure: Set<string>;
}

export interface LiveRecord {
  client: string;
  roomId: string;
  /** Numbers as they came over one connection, in the order of coming. */
  messages: number[];
  changes: number[];
}

export interface ViewRecord {
  client: string;
  userId: string;
  roomId: string;
  /** What the client holds. */
  messages: Message[];
  /** Numbers of the messages that it told its application, in that order. */
  told: number[];
}

export interface History {
  sends: SendRecord[];
  /** By message id. */
  texts: Map<string, Register>;
  deletions: Map<string, Register>;
  /** By `<message id> <user id> <emoji>`. */
  reactions: Map<string, Register>;
  live: LiveRecord[];
  views: ViewRecord[];
  /** By `<user id> <room id>`: the room as this user reads it over HTTP. */
  stored: Map<string, Message[]>;
  /** Answers that no client should get, whatever breaks. */
  surprises: string[];
}

export type ViolationKind =
  | 'acknowledged-lost'
  | 'number-gap'
  | 'stored-twice'
  | 'never-sent'
  | 'author-order'
  | 'change-lost'
  | 'view-differs'
  | 'view-order'
  | 'live-order'
  | 'surprise';

export interface Violation {
  kind: ViolationKind;
  detail: string;
}

/** Everything in which the history breaks a promise of chat; nothing if it keeps them all. */
export function findViolations(history: History): Violation[] {
  const found: Violation[] = history.surprises.map((detail) => ({ kind: 'surprise', detail }));
  const add = (kind: ViolationKind, detail: string): void => void found.push({ kind, detail });
  const rooms = new Map<string, Message[]>();
  for (const [key, messages] of history.stored) rooms.set(key.split(' ')[1]!, messages);

  checkNumbers(rooms, add);
  checkSends(rooms, history.sends, add);
  checkChanges(history, add);
  for (const view of history.views) checkView(view, history.stored, add);
  for (const { client, roomId, messages, changes } of history.live) {
    const late = unordered(messages) ?? unordered(changes);
    if (late) add('live-order', `${client} in ${roomId}: ${late}`);
  }
  return found;
}

type Add = (kind: ViolationKind, detail: string) => void;

function checkNumbers(rooms: Map<string, Message[]>, add: Add): void {
  for (const [roomId, messages] of rooms) {
    const wrong = messages.findIndex(({ seq }, index) => seq !== index + 1);
    if (wrong >= 0) add('number-gap', `${roomId}: ${messages[wrong]!.seq} stands where ${wrong + 1} should`);
  }
}

function checkSends(rooms: Map<string, Message[]>, sends: SendRecord[], add: Add): void {
  const all = [...rooms.values()].flat();
  const keyOf = (roomId: string, authorId: string, clientId: string) => `${roomId} ${authorId} ${clientId}`;
  const stored = Map.groupBy(all, ({ roomId, author, clientId }) => keyOf(roomId, author.id, clientId));
  const sent = new Set<string>();
  const lastOf = new Map<string, number>();
  for (const { writer, roomId, authorId, clientId, acknowledged } of sends) {
    const key = keyOf(roomId, authorId, clientId);
    sent.add(key);
    const messages = stored.get(key) ?? [];
    if (messages.length > 1)
      add('stored-twice', `${key}: as ${messages.map((message) => message.seq).join(', ')}`);
    if (!acknowledged) continue;
    if (!messages.some(({ id, seq }) => id === acknowledged.id && seq === acknowledged.seq))
      add('acknowledged-lost', `${key}: acknowledged as ${acknowledged.seq}, ${acknowledged.id}`);
    const order = `${writer} ${roomId}`;
    if (acknowledged.seq <= (lastOf.get(order) ?? 0))
      add('author-order', `${key}: ${acknowledged.seq} although an earlier one is ${lastOf.get(order)}`);
    lastOf.set(order, acknowledged.seq);
  }
  for (const key of stored.keys()) if (!sent.has(key)) add('never-sent', key);
}

function checkChanges({ stored, texts, deletions, reactions }: History, add: Add): void {
  for (const [viewer, messages] of stored) {
    const userId = viewer.split(' ')[0]!;
    const messageOf = new Map(messages.map((message) => [message.id, message]));
    for (const [id, message] of messageOf) {
      const deleted = message.deletedAt === null ? 'no' : 'yes';
      if (!mayBe(deletions.get(id) ?? { settled: 'no', unsure: new Set() }, deleted))
        add('change-lost', `${id} is deleted: ${deleted}`);
      const text = texts.get(id);
      if (deleted === 'no' && text && !mayBe(text, message.body))
        add('change-lost', `${id} says “${message.body}”, not “${text.settled}”`);
    }
    for (const [key, register] of reactions) {
      const [id, reactor, emoji] = key.split(' ') as [string, string, string];
      const message = messageOf.get(id);
      if (reactor !== userId || !message || message.deletedAt !== null) continue;
      const mine = message.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine);
      if (!mayBe(register, mine ? 'on' : 'off'))
        add('change-lost', `reaction ${key} is ${mine ? 'on' : 'off'}`);
    }
  }
}

const mayBe = ({ settled, unsure }: Register, value: string): boolean =>
  value === settled || unsure.has(value);

function checkView(view: ViewRecord, stored: History['stored'], add: Add): void {
  const { client, userId, roomId, messages, told } = view;
  const wanted = stored.get(`${userId} ${roomId}`)!;
  const differs = wanted.findIndex((message, index) => !Bun.deepEquals(message, messages[index]));
  if (differs >= 0 || messages.length !== wanted.length)
    add(
      'view-differs',
      `${client} in ${roomId}: ${messages.length} messages of ${wanted.length}; stored ${JSON.stringify(wanted[differs])}, seen ${JSON.stringify(messages[differs])}`,
    );
  const wrong = told.findIndex((seq, index) => seq !== index + 1);
  if (wrong >= 0)
    add('view-order', `${client} in ${roomId}: was told ${told[wrong]} where ${wrong + 1} should come`);
}

/** The first number that is not above the one before it. */
function unordered(numbers: number[]): string | undefined {
  const wrong = numbers.findIndex((number, index) => index > 0 && number <= numbers[index - 1]!);
  return wrong < 0 ? undefined : `${numbers[wrong]} after ${numbers[wrong - 1]}`;
}
