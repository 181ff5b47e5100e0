import { z } from 'zod';
import { onlyRoles } from '../auth/access.ts';
import { Id, PageQuery, page, Time } from '../contracts/common.ts';
import { EventEnvelope } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { notFound, Problem } from '../errors.ts';
import type { Context } from '../http/context.ts';
import { decodeCursor, toPage } from '../http/cursor.ts';
import { type Route, reply, routeFor } from '../http/route.ts';
import type { EventBus } from '../ports/event-bus.ts';

const DeadLetter = z
  .object({
    id: Id,
    queue: z.string(),
    eventId: z.string().nullable(),
    content: z.string(),
    reason: z.string(),
    attempts: z.number().int(),
    createdAt: Time,
    replayedAt: Time.nullable(),
  })
  .meta({ id: 'DeadLetter' });

/**
 * The administrator's view of the messages a service gave up on: a list, and a replay. A replay publishes the
 * event anew under its own id, so that a queue which had its effect already ignores it (inbox).
 */
export function deadLetterRoutes<S extends KernelTables>(bus: EventBus): Route<S>[] {
  const route = routeFor<KernelTables>();
  const routes = [
    route(
      {
        method: 'get',
        path: '/dead-letters',
        summary: 'Messages this service gave up on',
        access: onlyRoles(['admin']),
        query: PageQuery,
        replies: { 200: { description: 'Newest first', schema: page(DeadLetter) } },
      },
      async (context, { query }) => reply(200, await listDeadLetters(context, query)),
    ),
    route(
      {
        method: 'post',
        path: '/dead-letters/{deadLetterId}/replay',
        summary: 'Deliver a dead message again',
        access: onlyRoles(['admin'], { administrator: 'not-found' }),
        params: z.strictObject({ deadLetterId: Id }),
        replies: { 202: { description: 'Published again' } },
      },
      async (context, { params }) => {
        await replayDeadLetter(context, bus, params.deadLetterId);
        return reply(202);
      },
    ),
  ];
  return routes as unknown as Route<S>[];
}

async function listDeadLetters(
  { db }: Context<KernelTables>,
  query: { limit: number; cursor?: string | undefined },
) {
  const after = decodeCursor<[string]>(query.cursor, ['id']);
  let select = db
    .selectFrom('dead_letters')
    .selectAll()
    .orderBy('id', 'desc')
    .limit(query.limit + 1);
  if (after) select = select.where('id', '<', after[0]);
  return toPage(
    await select.execute(),
    query.limit,
    (row) => [row.id],
    (row) => ({
      id: row.id,
      queue: row.queue,
      eventId: row.event_id,
      content: row.content,
      reason: row.reason,
      attempts: row.attempts,
      createdAt: row.created_at.toISOString(),
      replayedAt: row.replayed_at?.toISOString() ?? null,
    }),
  );
}

async function replayDeadLetter({ db }: Context<KernelTables>, bus: EventBus, id: string): Promise<void> {
  const letter = await db.selectFrom('dead_letters').selectAll().where('id', '=', id).executeTakeFirst();
  if (!letter) throw notFound('dead letter');
  const event = EventEnvelope.safeParse(safeJson(letter.content));
  if (!event.success)
    throw new Problem('conflict', 'This message is not a valid event and can not be replayed.');
  await bus.publish(event.data);
  await db.updateTable('dead_letters').set({ replayed_at: new Date() }).where('id', '=', id).execute();
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
