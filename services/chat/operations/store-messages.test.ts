import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Kysely, sql } from 'kysely';
import { openPostgres, preparePostgres } from '../../../shared/adapters/database/postgres.ts';
import type { Message } from '../../../shared/contracts/chat.ts';
import type { EventEnvelope } from '../../../shared/contracts/events.ts';
import { migrate } from '../../../shared/db/migrate.ts';
import { transaction } from '../../../shared/db/transaction.ts';
import { Problem } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import { realServer } from '../../../shared/testing/servers.ts';
import { migrations } from '../migrations/index.ts';
import type { ChatTables } from '../store/tables.ts';
import {
  connect,
  disconnectAll,
  must,
  openSchool,
  person,
  type School,
  startChat,
  type World,
} from '../test-school.ts';
import { WordFilter } from '../word-filter/word-filter.ts';
import type { Send } from './new-message.ts';
import { openSendQueue } from './send-message.ts';
import { storeMessages } from './store-messages.ts';
import { storePlainMessages } from './store-plain-messages.ts';

setDefaultTimeout(60_000);

const sendOf = (
  authorId: string,
  roomId: string,
  clientId: string,
  more: Partial<Send['input']> = {},
): Send => ({
  author: { id: authorId, name: 'Somebody', role: 'learner' },
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  input: { roomId, clientId, body: clientId, ...more },
});

describe('many messages in one transaction', () => {
  let world: World;
  let school: School;
  beforeAll(async () => {
    world = await startChat(1000);
    school = await openSchool(world);
  });
  afterAll(() => world.stop());

  const store = (sends: Send[]) => transaction(world.db, (tx) => storeMessages(tx, new WordFilter(), sends));
  const lastSeq = async (roomId: string) =>
    (await world.db.selectFrom('rooms').select('last_seq').where('id', '=', roomId).executeTakeFirstOrThrow())
      .last_seq;

  test('each bad one is refused by itself, and the others take numbers without a gap', async () => {
    const { roomId, learner, teacher } = school;
    const other = await openSchool(world);
    const archived = await openSchool(world);
    await world.db.updateTable('rooms').set({ archived: true }).where('id', '=', archived.roomId).execute();
    const stranger = await person(world, 'Eve');
    const before = await lastSeq(roomId);
    const { outcomes, messages } = await store([
      sendOf(learner.userId, roomId, 'good-1'),
      sendOf(stranger.userId, roomId, 'stranger'),
      sendOf(learner.userId, newId(), 'no such room'),
      sendOf(teacher.userId, roomId, 'good-2'),
      sendOf(learner.userId, roomId, 'bad reply', { replyTo: newId() }),
      sendOf(learner.userId, roomId, 'bad file', { attachments: [{ fileId: newId() }] }),
      sendOf(other.learner.userId, other.roomId, 'elsewhere'),
      sendOf(archived.learner.userId, archived.roomId, 'archived'),
      sendOf(learner.userId, roomId.toUpperCase(), 'good-3'),
    ]);
    expect(
      outcomes.map((outcome) => (outcome instanceof Problem ? outcome.code : outcome.message.seq)),
    ).toEqual([
      before + 1,
      'not-found',
      'not-found',
      before + 2,
      'validation-failed',
      'validation-failed',
      1,
      'conflict',
      before + 3,
    ]);
    expect(messages.map(({ clientId }) => clientId)).toEqual(['good-1', 'good-2', 'elsewhere', 'good-3']);
    expect([await lastSeq(roomId), await lastSeq(other.roomId)]).toEqual([before + 3, 1]);
  });

  test('twins in a batch, and in an earlier one, are one message with one event', async () => {
    const { roomId, learner, teacher } = school;
    const first = await store([
      sendOf(learner.userId, roomId, 'twin'),
      sendOf(teacher.userId, roomId, 'twin'),
      sendOf(learner.userId, roomId, 'twin', { body: 'said otherwise' }),
    ]);
    const again = await store([
      sendOf(learner.userId, roomId, 'twin'),
      sendOf(learner.userId, roomId, 'new'),
    ]);
    const sent = (outcome: unknown) => outcome as { message: Message; created: boolean };
    expect(first.outcomes.map((outcome) => sent(outcome).created)).toEqual([true, true, false]);
    expect(sent(first.outcomes[2]).message).toEqual(sent(first.outcomes[0]).message);
    expect(sent(again.outcomes[0])).toEqual({ message: sent(first.outcomes[0]).message, created: false });
    expect(sent(again.outcomes[1]).created).toBe(true);
    const events = await world.published('message.sent');
    expect(events.filter(({ subject }) => subject === sent(first.outcomes[0]).message.id)).toHaveLength(1);
  });

  test('what fails in the middle leaves nothing: no number, no message, no event', async () => {
    const { roomId, learner } = school;
    const before = await lastSeq(roomId);
    const events = (await world.published('message.sent')).length;
    const attempt = transaction(world.db, async (tx) => {
      await storeMessages(tx, new WordFilter(), [sendOf(learner.userId, roomId, 'never')]);
      throw new Error('the process dies here');
    });
    await expect(attempt).rejects.toThrow('dies here');
    expect(await lastSeq(roomId)).toBe(before);
    expect((await world.published('message.sent')).length).toBe(events);
    const { outcomes } = await store([sendOf(learner.userId, roomId, 'never')]);
    expect(outcomes[0]).toMatchObject({ created: true, message: { seq: before + 1 } });
  });

  test('an answer lost after the commit: sent again it is the same message', async () => {
    const { roomId, learner } = school;
    const ben = await connect(world.url, learner.token);
    // As when the process is killed between the commit and the acknowledgement.
    const { messages } = await store([sendOf(learner.userId, roomId, 'unanswered')]);
    const { message } = await must(ben, 'message:send', {
      roomId,
      clientId: 'unanswered',
      body: 'unanswered',
    });
    expect(message).toEqual(messages[0]!);
    disconnectAll();
  });

  test('replies of a batch are counted together, each parent has one change', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    const { messages } = await store([
      sendOf(learner.userId, roomId, 'q1'),
      sendOf(learner.userId, roomId, 'q2'),
    ]);
    const [first, second] = messages as [Message, Message];
    const { threads } = await store([
      sendOf(teacher.userId, roomId, 'a1', { replyTo: first.id }),
      sendOf(teacher.userId, roomId, 'a2', { replyTo: second.id }),
      sendOf(learner.userId, roomId, 'a3', { replyTo: first.id }),
    ]);
    const counted = new Map(threads.map((thread) => [thread.messageId, [thread.seq, thread.replyCount]]));
    expect(counted).toEqual(
      new Map([
        [first.id, [1, 2]],
        [second.id, [2, 1]],
      ]),
    );
    expect(threads.map(({ changeSeq }) => changeSeq).sort()).toEqual([1, 2]);
  });
});

describe('messages that nothing has to be decided about', () => {
  let world: World;
  let school: School;
  beforeAll(async () => {
    world = await startChat(1000);
    school = await openSchool(world);
  });
  afterAll(() => world.stop());

  test('are stored and told of as they are on the long way', async () => {
    const { roomId, learner } = school;
    const direct = newId();
    const at = new Date();
    const room = { id: direct, kind: 'direct' as const, name: '', course_id: null, pair_key: direct };
    await world.db
      .insertInto('rooms')
      .values({ ...room, created_at: at, active_at: at })
      .execute();
    await world.db
      .insertInto('members')
      .values({ room_id: direct, user_id: learner.userId, role: 'owner', joined_at: at })
      .execute();
    const body = `"Quotes", \\ and 👩‍👩‍👧 ${'x'.repeat(300)}\nשלום`;
    const sends = (way: string) =>
      [roomId, direct].map((id) => sendOf(learner.userId, id, `${way}-${id}`, { body }));
    const plain = await storePlainMessages(world.db, new WordFilter(), sends('plain'));
    const long = await storeMessages(world.db, new WordFilter(), sends('long'));
    const comparable = (message: Message) => ({
      ...message,
      id: '',
      clientId: message.clientId.replace(/^\w+-/, ''),
      seq: message.seq + (message.clientId.startsWith('plain') ? 1 : 0),
      createdAt: '',
    });
    expect(plain.messages.map(comparable)).toEqual(long.messages.map(comparable));
    expect(plain.messages.map(({ author }) => author.displayName)).toEqual(['Ben', 'Ben']);
    const comparableEvent = ({ data, traceparent, actor, name }: EventEnvelope) => {
      const { messageId, seq, ...facts } = data as { messageId: string; seq: number };
      return { traceparent, actor, name, facts };
    };
    expect(plain.events.map(comparableEvent)).toEqual(long.events.map(comparableEvent));
    // Both are claimed, and what is to be published is what is kept.
    for (const { events, messages } of [plain, long]) {
      const rows = await world.db
        .selectFrom('outbox')
        .selectAll()
        .where(
          'id',
          'in',
          events.map(({ id }) => id),
        )
        .orderBy('id')
        .execute();
      expect(rows.map(({ envelope }) => envelope)).toEqual(events);
      expect(rows.every((row) => row.claimed_until! > at && row.attempts === 1)).toBe(true);
      expect(events.map(({ data }) => (data as { seq: number }).seq)).toEqual(messages.map(({ seq }) => seq));
    }
    const history = await world.call('GET', `/api/chat/rooms/${roomId}/messages?limit=2`, {
      headers: learner.headers,
    });
    expect(history.body.items).toEqual([plain.messages[0], long.messages[0]]);
  });

  test('anything else is left, and all messages to its room with it', async () => {
    const others = await openSchool(world);
    const { roomId, learner, teacher } = school;
    const { messages } = await storeMessages(world.db, new WordFilter(), [
      sendOf(learner.userId, roomId, 'known'),
    ]);
    const muted = await openSchool(world);
    await world.db
      .insertInto('sanctions')
      .values({
        room_id: muted.roomId,
        user_id: muted.learner.userId,
        kind: 'mute',
        until: null,
        reason: '',
        took_out: false,
        created_by: muted.teacher.userId,
        created_at: new Date(),
      })
      .execute();
    const restricted = await openSchool(world);
    const restrict = (change: { archived?: boolean; locked?: boolean; slow_mode_seconds?: number }) =>
      world.db.updateTable('rooms').set(change).where('id', '=', restricted.roomId).execute();
    const stranger = await person(world, 'Eve');
    const special: Record<string, Send> = {
      'a stranger': sendOf(stranger.userId, roomId, 's'),
      'a room that is not there': sendOf(learner.userId, newId(), 's'),
      'a client id that is known': sendOf(learner.userId, roomId, 'known'),
      'a reply': sendOf(learner.userId, roomId, 's', { replyTo: messages[0]!.id }),
      'an attachment': sendOf(learner.userId, roomId, 's', { attachments: [{ fileId: newId() }] }),
      'a mention': sendOf(learner.userId, roomId, 's', { body: `<@${teacher.userId}>` }),
      'a word of the filter': sendOf(learner.userId, roomId, 's', { body: 'a BadWord' }),
      'a word of the room, whose id is in capitals': sendOf(learner.userId, roomId.toUpperCase(), 's', {
        body: 'a RoomWord',
      }),
      'somebody who is muted': sendOf(muted.learner.userId, muted.roomId, 's'),
      'a webhook': {
        ...sendOf(learner.userId, roomId, 's'),
        author: { id: learner.userId, name: 'Bot', role: 'learner', exempt: true },
      },
    };
    const word = { action: 'refuse' as const, created_by: teacher.userId, created_at: new Date() };
    await world.db
      .insertInto('filter_words')
      .values([
        { ...word, id: newId(), room_id: null, word: 'badword' },
        { ...word, id: newId(), room_id: roomId, word: 'roomword' },
      ])
      .execute();
    const filter = new WordFilter();
    for (const [what, send] of Object.entries(special)) {
      const neighbour = sendOf(teacher.userId, send.input.roomId, `beside ${what}`);
      const elsewhere = sendOf(others.learner.userId, others.roomId, `elsewhere ${what}`);
      const { outcomes } = await storePlainMessages(world.db, filter, [neighbour, send, elsewhere]);
      expect([what, ...outcomes.map((outcome) => outcome?.created)]).toEqual([
        what,
        undefined,
        undefined,
        true,
      ]);
    }
    for (const change of [{ archived: true }, { locked: true }, { slow_mode_seconds: 5 }]) {
      await restrict({ archived: false, locked: false, slow_mode_seconds: 0 });
      const say = (clientId: string) =>
        storePlainMessages(world.db, filter, [
          sendOf(restricted.learner.userId, restricted.roomId, clientId),
        ]);
      expect((await say(`before ${JSON.stringify(change)}`)).outcomes[0]?.created).toBe(true);
      await restrict(change);
      expect((await say(`after ${JSON.stringify(change)}`)).outcomes).toEqual([undefined]);
    }
    const twins = ['twin', 'twin'].map((clientId) => sendOf(learner.userId, roomId, clientId));
    expect((await storePlainMessages(world.db, filter, twins)).outcomes).toEqual([undefined, undefined]);
  });

  test('through the queue a room keeps the order of its messages, whichever way they take', async () => {
    const { roomId, learner, teacher } = await openSchool(world);
    const told: Message[] = [];
    const live = { messages: (messages: Message[]) => told.push(...messages), thread: () => {} };
    const queue = openSendQueue(world.db, { live: live as never, filter: new WordFilter() }, () => {});
    const sends = Array.from({ length: 60 }, (_, index) =>
      sendOf(learner.userId, roomId, `in order ${index}`, {
        body: index % 7 === 3 ? `${index} <@${teacher.userId}>` : String(index),
      }),
    );
    const outcomes: (Promise<unknown> | undefined)[] = [];
    for (const [index, send] of sends.entries()) {
      outcomes.push(queue.add(send));
      if (index % 10 === 9) await Bun.sleep(8);
    }
    await Promise.all(outcomes);
    expect(told.map(({ clientId }) => clientId)).toEqual(sends.map(({ input }) => input.clientId));
    expect(told.map(({ seq }) => seq)).toEqual(told.map((_, index) => index + 1));
  });
});

const postgres = await realServer('postgres');
describe.skipIf(postgres === undefined)(
  'two processes on one PostgreSQL (skipped without the real server)',
  () => {
    const name = `chat_${newId().slice(-8)}`;
    const nodes: Kysely<ChatTables>[] = [];
    const people = Array.from({ length: 4 }, () => newId());
    const rooms = Array.from({ length: 3 }, () => newId());

    beforeAll(async () => {
      await preparePostgres(postgres!.url, name, 'secret');
      const url = new URL(postgres!.url);
      url.username = `lyceum_${name}`;
      url.password = 'secret';
      for (let index = 0; index < 2; index++) nodes.push(openPostgres<ChatTables>({ url: url.href, max: 8 }));
      const [db] = nodes as [Kysely<ChatTables>];
      await migrate(db, name, migrations);
      const now = new Date();
      // The messages of the other two take the long way: their names are not known yet.
      for (const user_id of people.slice(0, 2))
        await db.insertInto('people').values({ user_id, display_name: 'Known', named_at: now }).execute();
      for (const id of rooms) {
        await db
          .insertInto('rooms')
          .values({
            id,
            kind: 'group',
            name: 'Room',
            course_id: null,
            pair_key: null,
            created_at: now,
            active_at: now,
          })
          .execute();
        await db
          .insertInto('members')
          .values(
            people.map((userId) => ({
              room_id: id,
              user_id: userId,
              role: 'member' as const,
              joined_at: now,
            })),
          )
          .execute();
      }
    });
    afterAll(async () => {
      await sql.raw(`drop schema ${name} cascade`).execute(nodes[0]!);
      for (const node of nodes) await node.destroy();
    });

    test('the same rooms in any order, twins on both: no gaps, no doubles, nobody waits in a circle', async () => {
      const told: number[][] = rooms.map(() => []);
      const live = {
        messages: (messages: Message[]) => {
          for (const { roomId, seq } of messages) told[rooms.indexOf(roomId)]!.push(seq);
        },
        thread: () => {},
      };
      const queues = nodes.map((node) =>
        openSendQueue(node, { live: live as never, filter: new WordFilter() }, () => {}),
      );
      const each = 600;
      const sends = queues.flatMap((queue, node) =>
        Array.from({ length: each }, async (_, index) => {
          // Each process goes through the rooms in its own order; every tenth message is sent through both.
          const room = rooms[(node === 0 ? index : each - index) % rooms.length]!;
          const twin = index % 10 === 0;
          const send = sendOf(
            people[index % 4]!,
            twin ? rooms[0]! : room,
            twin ? `both-${index}` : `${node}-${index}`,
          );
          const outcome = await queue.add(send);
          if (outcome instanceof Problem) throw outcome;
          return outcome;
        }),
      );
      const outcomes = await Promise.all(sends);
      const twins = each / 10;
      expect(outcomes.filter(({ created }) => !created)).toHaveLength(twins);
      let total = 0;
      for (const [index, roomId] of rooms.entries()) {
        const rows = await nodes[0]!
          .selectFrom('messages')
          .select('seq')
          .where('room_id', '=', roomId)
          .orderBy('seq')
          .execute();
        const seqs = rows.map(({ seq }) => seq);
        expect(seqs).toEqual(seqs.map((_, place) => place + 1));
        expect([...told[index]!].sort((a, b) => a - b)).toEqual(seqs);
        total += seqs.length;
      }
      expect(total).toBe(2 * each - twins);
    });

    test('transactions over the same rooms in other orders never wait in a circle', async () => {
      // Without `transaction`, which would try again after a deadlock.
      const attempts = Array.from({ length: 24 }, (_, attempt) =>
        nodes[attempt % 2]!.transaction().execute((tx) =>
          storeMessages(
            tx,
            new WordFilter(),
            Array.from({ length: 6 }, (_, index) => {
              const room = rooms[(attempt + index * (attempt % 2 === 0 ? 1 : 2)) % 3]!;
              return sendOf(people[index % 4]!, room, `order-${attempt}-${index}`);
            }),
          ),
        ),
      );
      const outcomes = (await Promise.all(attempts)).flatMap((stored) => stored.outcomes);
      expect(outcomes.filter((outcome) => outcome instanceof Problem)).toEqual([]);
      expect(outcomes).toHaveLength(144);
    });

    test('what binds a room while a message waits for its lock, binds the message', async () => {
      const [roomId, open] = [rooms[2]!, rooms[1]!];
      const [first, second] = nodes as [Kysely<ChatTables>, Kysely<ChatTables>];
      const restrict = {
        archived: { archived: true },
        locked: { locked: true },
        slow: { slow_mode_seconds: 9 },
      };
      for (const [what, change] of Object.entries(restrict)) {
        let waiting: ReturnType<typeof storePlainMessages> | undefined;
        await first.transaction().execute(async (tx) => {
          await tx.updateTable('rooms').set(change).where('id', '=', roomId).execute();
          waiting = storePlainMessages(second, new WordFilter(), [
            sendOf(people[0]!, roomId, `while ${what}`),
            sendOf(people[0]!, open, `elsewhere ${what}`),
          ]);
          await Bun.sleep(100);
        });
        const outcomes = (await waiting!).outcomes.map((outcome) => outcome?.created);
        expect([what, ...outcomes]).toEqual([what, undefined, true]);
        await first
          .updateTable('rooms')
          .set({ archived: false, locked: false, slow_mode_seconds: 0 })
          .where('id', '=', roomId)
          .execute();
      }
    });

    test('a batch that the database refuses is stored but for the one message that it refuses', async () => {
      const queue = openSendQueue(
        nodes[0]!,
        { live: { messages: () => {}, thread: () => {} } as never, filter: new WordFilter() },
        () => {},
      );
      // PostgreSQL stores no NUL in text; the contract refuses it long before, so this stands for the unforeseen.
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, index) =>
          queue.add(sendOf(people[0]!, rooms[1]!, index === 7 ? 'bad\u0000id' : `fine-${index}`)),
        ),
      );
      expect(outcomes.map(({ status }) => status)).toEqual(
        Array.from({ length: 20 }, (_, index) => (index === 7 ? 'rejected' : 'fulfilled')),
      );
      const seqs = outcomes.flatMap((outcome) =>
        outcome.status === 'fulfilled' && !(outcome.value instanceof Problem)
          ? outcome.value.message.seq
          : [],
      );
      expect(seqs).toEqual(seqs.map((_, place) => seqs[0]! + place));
    });
  },
);
