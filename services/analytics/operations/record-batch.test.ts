import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { newId } from '../../../shared/ids.ts';
import { activityOf, clientEvent, makeCourse, send, startAnalytics, type World } from '../testing.ts';

let world: World;
beforeAll(async () => {
  world = await startAnalytics();
}, 60_000);
afterAll(() => world.stop());

const path = '/api/analytics/events/batch';
const eventsOf = async (as: Awaited<ReturnType<World['signIn']>>): Promise<number> =>
  (await world.call('GET', '/api/analytics/reports/me', { as })).body.events;

describe('a batch of events', () => {
  test('is accepted, and counts for the person and the course', async () => {
    const course = await makeCourse(world);
    const learner = await course.enrol('Lea');
    const before = await activityOf(world, course);
    const events = Array.from({ length: 500 }, () =>
      clientEvent({ courseId: course.id, data: { page: 3, tags: ['ü'] } }),
    );
    const sent = await send(world, learner, events);
    expect(sent.status).toBe(202);
    expect(sent.body).toEqual({ accepted: 500, duplicates: 0, rejected: [] });
    expect((await activityOf(world, course)).events).toBe(before.events + 500);
  });

  test('sent again counts as duplicates, and nothing is counted twice', async () => {
    const learner = await world.signIn();
    const events = [clientEvent(), clientEvent(), clientEvent()];
    await send(world, learner, events);
    const again = await send(world, learner, [...events, clientEvent()]);
    expect(again.body).toEqual({ accepted: 1, duplicates: 3, rejected: [] });
    expect(await eventsOf(learner)).toBe(4);
  });

  test('sent ten times at once counts once', async () => {
    const learner = await world.signIn();
    const events = Array.from({ length: 50 }, () => clientEvent());
    const replies = await Promise.all(Array.from({ length: 10 }, () => send(world, learner, events)));
    expect(replies.reduce((sum, reply) => sum + reply.body.accepted, 0)).toBe(50);
    expect(replies.reduce((sum, reply) => sum + reply.body.duplicates, 0)).toBe(450);
    expect(await eventsOf(learner)).toBe(50);
  });

  test('with the same id twice counts it once, in capitals too', async () => {
    const learner = await world.signIn();
    const event = clientEvent();
    const twin = { ...event, id: (event.id as string).toUpperCase() };
    expect((await send(world, learner, [event, twin])).body).toEqual({
      accepted: 1,
      duplicates: 1,
      rejected: [],
    });
  });

  test('may use ids that another person has used', async () => {
    const [one, other] = [await world.signIn(), await world.signIn()];
    const event = clientEvent();
    await send(world, one, [event]);
    expect((await send(world, other, [event])).body.accepted).toBe(1);
  });

  test('with the same Idempotency-Key gets the first reply', async () => {
    const learner = await world.signIn();
    const call = (events: unknown) =>
      world.call('POST', path, { as: learner, body: { events }, headers: { 'idempotency-key': 'one' } });
    const events = [clientEvent()];
    expect((await call(events)).body.accepted).toBe(1);
    expect((await call(events)).body.accepted).toBe(1);
    expect((await call([clientEvent()])).body.code).toBe('idempotency-key-reused');
    expect(await eventsOf(learner)).toBe(1);
  });

  test('keeps the good ones when some are bad, and says which are', async () => {
    const learner = await world.signIn();
    const minutes = (count: number) => new Date(Date.now() + count * 60_000).toISOString();
    const bad: Record<string, unknown>[] = [
      clientEvent({ id: 'x' }),
      clientEvent({ id: undefined }),
      clientEvent({ name: 'No Such' }),
      clientEvent({ name: 'a'.repeat(101) }),
      clientEvent({ name: 'x\u0000' }),
      clientEvent({ name: '../up' }),
      clientEvent({ at: 'yesterday' }),
      clientEvent({ at: minutes(6) }),
      clientEvent({ at: minutes(-30 * 24 * 60 - 1) }),
      clientEvent({ at: '2026-02-30T00:00:00Z' }),
      clientEvent({ at: 5 }),
      clientEvent({ courseId: 'mine' }),
      clientEvent({ lessonId: 7 }),
      clientEvent({ userId: newId() }),
      clientEvent({ data: [] }),
      clientEvent({ data: 'text' }),
      clientEvent({ data: { text: 'a\u0000b' } }),
      clientEvent({ data: { 'k\u0000': 1 } }),
      clientEvent({ data: { half: '\ud800' } }),
      clientEvent({ data: { text: 'x'.repeat(4_096) } }),
      clientEvent({ data: { a: { b: { c: { d: { e: { f: { g: { h: {} } } } } } } } } }),
    ];
    const good = [
      clientEvent({ at: minutes(4) }),
      clientEvent({ at: minutes(-29 * 24 * 60) }),
      clientEvent({ at: new Date(Date.now() + 20 * 3_600_000).toISOString().replace('Z', '+20:00') }),
      clientEvent({ data: { text: 'ü'.repeat(2_000), nested: [[['x']]] } }),
    ];
    const { status, body } = await send(world, learner, [good[0], ...bad, ...good.slice(1)]);
    expect(status).toBe(202);
    expect(body.accepted).toBe(good.length);
    expect(body.rejected.map((entry: { index: number }) => entry.index)).toEqual(
      bad.map((_, index) => index + 1),
    );
    expect(new Set(body.rejected.map((entry: { code: string }) => entry.code))).toEqual(
      new Set(['validation-failed']),
    );
    expect(await eventsOf(learner)).toBe(good.length);
  });

  test('that is no batch is refused whole, and nothing is stored', async () => {
    const learner = await world.signIn();
    const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) });
    const deep = `{"events":[{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}]}`;
    const bodies: unknown[] = [
      {},
      [],
      { events: 'x' },
      { events: {} },
      { events: [1] },
      { events: [null] },
      { events: [[]] },
      { events: [], more: 1 },
      { events: Array.from({ length: 501 }, () => clientEvent()) },
      { events: [clientEvent(), clientEvent({ data: nested(100) })] },
    ];
    for (const body of bodies) {
      expect((await world.call('POST', path, { as: learner, body })).status).toBe(400);
    }
    const json = { 'content-type': 'application/json' };
    for (const headers of [json, { ...json, 'idempotency-key': 'deep' }]) {
      const refused = await world.call('POST', path, { as: learner, body: deep, headers });
      expect([refused.status, refused.body.code]).toEqual([400, 'validation-failed']);
    }
    expect((await world.call('POST', path, { as: learner, body: '{"events":[', headers: json })).status).toBe(
      400,
    );
    expect(
      (await world.call('POST', path, { as: learner, body: new Uint8Array([0xff]), headers: json })).status,
    ).toBe(400);
    expect(
      (await world.call('POST', path, { as: learner, body: 'x'.repeat(10_000_000), headers: json })).status,
    ).toBe(413);
    expect(
      (
        await world.call('POST', path, {
          as: learner,
          body: '{"events":[]}',
          headers: { 'content-type': 'text/plain' },
        })
      ).status,
    ).toBe(415);
    expect(await eventsOf(learner)).toBe(0);
  });

  test('may be empty', async () => {
    expect((await send(world, await world.signIn(), [])).body).toEqual({
      accepted: 0,
      duplicates: 0,
      rejected: [],
    });
  });

  test('needs somebody to be signed in', async () => {
    expect((await world.call('POST', path, { body: { events: [] } })).body.code).toBe('unauthenticated');
    const expired = await world.signIn({ expiresIn: -60 });
    expect((await send(world, expired, [])).body.code).toBe('token-expired');
  });

  test("of strangers does not show in a course's reports; of a learner who left, only what was before", async () => {
    const course = await makeCourse(world);
    const learner = await course.enrol('Lea', new Date(Date.now() - 5 * 86_400_000).toISOString());
    const stranger = await world.signIn();
    const twoDaysAgo = new Date(Date.now() - 2 * 86_400_000).toISOString();
    await send(world, learner, [clientEvent({ courseId: course.id, at: twoDaysAgo })]);
    const before = await activityOf(world, course);
    await world.emit('enrolment.cancelled', course.enrolment(learner), {
      at: new Date(Date.now() - 86_400_000).toISOString(),
      actor: learner.userId,
    });
    expect((await activityOf(world, course)).events).toBe(before.events + 1);
    await send(
      world,
      stranger,
      Array.from({ length: 100 }, () => clientEvent({ courseId: course.id })),
    );
    await send(world, learner, [clientEvent({ courseId: course.id })]);
    expect((await activityOf(world, course)).events).toBe(before.events + 1);
  });
});
