import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import type { Message } from '../../../shared/contracts/chat.ts';
import { newId } from '../../../shared/ids.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import {
  connect,
  disconnectAll,
  must,
  next,
  openGroup,
  openSchool,
  person,
  startChat,
  type World,
} from '../test-school.ts';

setDefaultTimeout(60_000);

let world: World;
beforeAll(async () => {
  world = await startChat();
}, 60_000);
afterEach(disconnectAll);
afterAll(() => world.stop());

const call = (as: TestUser, method: string, path: string, body?: unknown) =>
  world.call(method, `/api/chat${path}`, { as, ...(body === undefined ? {} : { body }) });
const hook = (id: string, secret: string | undefined, body: unknown, header = 'authorization') =>
  world.call('POST', `/api/chat/webhooks/${id}`, {
    body,
    headers:
      secret === undefined ? {} : { [header]: header === 'authorization' ? `Bearer ${secret}` : secret },
  });

async function openHook(name = 'Build server') {
  const school = await openSchool(world);
  const { status, body } = await call(school.teacher, 'POST', `/rooms/${school.roomId}/webhooks`, { name });
  expect(status).toBe(201);
  return { ...school, id: body.id as string, secret: body.secret as string, path: body.path as string };
}

test('an integration writes under its own name, live, once for each client id', async () => {
  const { roomId, learner, teacher, id, secret, path } = await openHook();
  expect(path).toBe(`/api/chat/webhooks/${id}`);
  const client = await connect(world.url, learner.token);
  await must(client, 'room:join', { roomId });
  const seen = next<Message>(client, 'message');
  const first = await hook(id, secret, { text: 'Build **12** passed', clientId: 'build-12' });
  const again = await hook(id, secret, { text: 'Other words', clientId: 'build-12' }, 'x-webhook-secret');
  expect([first.status, again.status]).toEqual([201, 200]);
  expect(again.body).toEqual(first.body);
  expect(await seen).toEqual(first.body);
  expect(first.body).toMatchObject({
    seq: 1,
    body: 'Build **12** passed',
    author: { id, displayName: 'Build server', bot: true },
  });
  expect((await hook(id, secret, { text: 'No id' })).body.seq).toBe(2);
  expect((await hook(id, secret, { text: 'No id' })).body.seq).toBe(3);
  const reply = await hook(id, secret, { text: 'Answer', replyTo: first.body.id });
  expect(reply.body.replyTo).toBe(first.body.id);
  expect((await hook(id, secret, { text: '<@room> wake up' })).body).toMatchObject({ mentionsRoom: false });
  const [webhook] = (await call(teacher, 'GET', `/rooms/${roomId}/webhooks`)).body.items;
  expect(webhook).toMatchObject({ id, name: 'Build server', lastUsedAt: expect.any(String) });
  expect(JSON.stringify(webhook)).not.toContain(secret);
});

test('the secret opens the door and nothing else does; it is kept as a digest', async () => {
  const { teacher, roomId, id, secret } = await openHook();
  const text = { text: 'x' };
  for (const wrong of [
    undefined,
    '',
    'x',
    secret.slice(0, -1),
    `${secret}x`,
    teacher.token,
    secret.toUpperCase(),
  ])
    expect((await hook(id, wrong, text)).body.code).toBe('unauthenticated');
  // Before the body is read: a stranger's rubbish is not even parsed.
  expect((await hook(id, 'wrong', '{')).body.code).toBe('unauthenticated');
  expect((await hook(newId(), secret, text)).body.code).toBe('unauthenticated');
  expect((await hook('x', secret, text)).status).toBe(400);
  const stored = await world.db
    .selectFrom('webhooks')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  expect(Buffer.from(stored.secret_digest).toString('latin1')).not.toContain(secret);

  const rotated = (await call(teacher, 'POST', `/rooms/${roomId}/webhooks/${id}/rotate`)).body;
  expect([(await hook(id, secret, text)).status, (await hook(id, rotated.secret, text)).status]).toEqual([
    401, 201,
  ]);
  expect((await call(teacher, 'DELETE', `/rooms/${roomId}/webhooks/${id}`)).status).toBe(204);
  expect((await hook(id, rotated.secret, text)).status).toBe(401);
  expect((await call(teacher, 'DELETE', `/rooms/${roomId}/webhooks/${id}`)).status).toBe(404);
  expect((await call(teacher, 'GET', `/rooms/${roomId}/messages`)).body.items[0].author.displayName).toBe(
    'Build server',
  );
});

test('are kept by the room’s owner', async () => {
  const { teacher, learner, roomId, id } = await openHook();
  const stranger = await person(world, 'Eve');
  await call(teacher, 'PATCH', `/rooms/${roomId}/members/${learner.userId}`, { role: 'moderator' });
  for (const [as, status] of [
    [learner, 403],
    [stranger, 404],
  ] as const) {
    expect((await call(as, 'GET', `/rooms/${roomId}/webhooks`)).status).toBe(status);
    expect((await call(as, 'POST', `/rooms/${roomId}/webhooks`, { name: 'x' })).status).toBe(status);
    expect((await call(as, 'POST', `/rooms/${roomId}/webhooks/${id}/rotate`)).status).toBe(status);
    expect((await call(as, 'DELETE', `/rooms/${roomId}/webhooks/${id}`)).status).toBe(status);
  }
  const elsewhere = await openGroup(world, teacher, []);
  expect((await call(teacher, 'DELETE', `/rooms/${elsewhere}/webhooks/${id}`)).status).toBe(404);
  const { body: direct } = await call(teacher, 'POST', '/rooms', {
    kind: 'direct',
    memberIds: [learner.userId],
  });
  expect((await call(teacher, 'POST', `/rooms/${direct.id}/webhooks`, { name: 'x' })).status).toBe(403);
  for (const name of ['', 'a\nb', 'a\u0007b', 'x'.repeat(81), 'a\u202eb'])
    expect((await call(teacher, 'POST', `/rooms/${roomId}/webhooks`, { name })).status).toBe(400);
  const html = (
    await call(teacher, 'POST', `/rooms/${roomId}/webhooks`, { name: '<img src=x onerror=alert(1)>' })
  ).body;
  expect(html.name).toBe('<img src=x onerror=alert(1)>');
  // A webhook is nobody to talk to.
  expect((await call(teacher, 'POST', '/rooms', { kind: 'direct', memberIds: [id] })).status).toBe(400);
});

test('what is said through it obeys the word filter, archiving and a limit of its own', async () => {
  const { teacher, roomId, id, secret } = await openHook();
  await call(teacher, 'POST', `/rooms/${roomId}/filter-words`, { word: 'scoundrel', action: 'review' });
  expect((await hook(id, secret, { text: 'scoundrel' })).body.code).toBe('content-refused');
  for (const body of [
    {},
    { text: '' },
    { text: 7 },
    { text: 'x', seq: 9 },
    { text: 'x'.repeat(4001) },
    { text: 'x', replyTo: newId() },
    { text: 'x', author: 'Ada' },
    [],
  ])
    expect([body, (await hook(id, secret, body)).body.code]).toEqual([body, 'validation-failed']);
  const replies = await Promise.all(Array.from({ length: 40 }, (_, n) => hook(id, secret, { text: `${n}` })));
  const refused = replies.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused[0]!.body.code).toBe('rate-limited');
  expect(refused[0]!.headers.get('retry-after')).toMatch(/^[1-9]/);
  const seqs = replies.filter(({ status }) => status === 201).map(({ body }) => body.seq);
  expect(seqs.sort((a, b) => a - b)).toEqual(seqs.map((_, index) => index + 1));
});
