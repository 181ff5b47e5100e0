import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type Kysely, sql } from 'kysely';
import { openPostgres, preparePostgres } from '../../../shared/adapters/database/postgres.ts';
import type { Message } from '../../../shared/contracts/chat.ts';
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
