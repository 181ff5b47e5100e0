import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import type { KyselyPlugin } from 'kysely';
import { Context } from '../../../shared/http/context.ts';
import { silentLog } from '../../../shared/observability/log.ts';
import { newTraceparent } from '../../../shared/observability/trace.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import type { ChatContext } from '../context.ts';
import { connect, disconnectAll, must, openSchool, startChat, type World } from '../test-school.ts';
import { joinPage } from './join-room.ts';

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat(1000);
});
afterEach(disconnectAll);
afterAll(() => world.stop());

const contextOf = ({ caller }: TestUser, db = world.db): ChatContext => {
  const origin = { requestId: 'test', traceparent: newTraceparent(), ip: '', userAgent: '' };
  return new Context(db, caller, origin, silentLog, () => {});
};

test('a page ends where the room was when it was asked for, whatever is written and changed while it is read', async () => {
  const { roomId, learner, teacher } = await openSchool(world);
  const ada = await connect(world.url, teacher.token);
  const { message } = await must(ada, 'message:send', { roomId, clientId: '1', body: 'One' });
  const meanwhile = async () => {
    await must(ada, 'message:edit', { messageId: message.id, body: 'One, edited' });
    const second = await must(ada, 'message:send', { roomId, clientId: '2', body: 'Two' });
    await must(ada, 'message:edit', { messageId: second.message.id, body: 'Two, edited' });
  };
  let written: Promise<void> | undefined;
  const whenMessagesAreRead: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    async transformResult({ result }) {
      const read = result.rows.some((row) => row.client_id === '1');
      if (!read || written) return result;
      written = meanwhile();
      await written;
      return result;
    },
  };
  const context = contextOf(learner, world.db.withPlugin(whenMessagesAreRead));
  const page = await joinPage(context, { roomId, after: 0, changesAfter: 0 });
  expect(page.room).toMatchObject({ lastSeq: 1, lastChange: 0 });
  expect(page.messages.map(({ body, changeSeq }) => ({ body, changeSeq }))).toEqual([
    { body: 'One', changeSeq: 0 },
  ]);
  // The second message and its change are still to come, live.
  expect(page.changes.map(({ body, changeSeq }) => ({ body, changeSeq }))).toEqual([
    { body: 'One, edited', changeSeq: 1 },
  ]);
  expect(page).toMatchObject({ lastChange: 0, hasMore: false, hasMoreChanges: false });

  const next = await joinPage(contextOf(learner), { roomId, after: 1, changesAfter: 0 });
  expect(next.messages.map(({ body }) => body)).toEqual(['Two, edited']);
  expect(next.changes.map(({ body }) => body)).toEqual(['One, edited', 'Two, edited']);
  expect(next.lastChange).toBe(2);
});

test('changes to messages that a page does not reach come with the page that does', async () => {
  const { roomId, learner, teacher } = await openSchool(world);
  const ada = await connect(world.url, teacher.token);
  const sent = await Promise.all(
    Array.from({ length: 201 }, (_, n) =>
      must(ada, 'message:send', { roomId, clientId: `${n}`, body: `${n}` }),
    ),
  );
  for (const index of [200, 0])
    await must(ada, 'message:edit', { messageId: sent[index]!.message.id, body: `${index}, edited` });
  const first = await joinPage(contextOf(learner), { roomId, after: 0, changesAfter: 0 });
  expect(first.messages.length).toBe(200);
  expect(first.changes.map(({ body }) => body)).toEqual(['0, edited']);
  expect(first).toMatchObject({ hasMore: true, lastChange: 2, hasMoreChanges: false });
  const second = await joinPage(contextOf(learner), { roomId, after: 200, changesAfter: 2 });
  expect(second.messages.map(({ body }) => body)).toEqual(['200, edited']);
  expect(second).toMatchObject({ hasMore: false, changes: [], lastChange: 2 });
});
