import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { TestUser } from '../../../shared/testing/service.ts';
import { type ContentWorld, startContent } from '../testing.ts';

let world: ContentWorld;
let teacher: TestUser;
let learner: TestUser;
let stranger: TestUser;
let courseId: string;
let path: string;
let fileId: string;

const TEXT = 'abcdefghijklmnopqrstuvwxyz';

beforeAll(async () => {
  world = await startContent();
  teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
  learner = await world.signIn();
  stranger = await world.signIn();
  courseId = (await world.course(teacher)).id;
  await world.enrol(learner, courseId);
  const query = `name=${encodeURIComponent('Ünï "x".txt')}&courseId=${courseId}&visibility=course`;
  fileId = (await world.upload(teacher, query, TEXT)).body.id;
  path = `/api/content/files/${fileId}/content`;
  await world.settled(teacher, fileId);
});
afterAll(() => world.stop());

const get = (
  headers: Record<string, string> = {},
  as: TestUser | undefined = learner,
  method = 'GET',
  query = '',
) => world.call(method, path + query, { ...(as ? { as } : {}), headers });

test('the whole file comes with all that a careful client needs', async () => {
  const { status, body, headers } = await get();
  expect([status, body]).toEqual([200, TEXT]);
  expect(headers.get('content-length')).toBe('26');
  expect(headers.get('accept-ranges')).toBe('bytes');
  expect(headers.get('etag')).toMatch(/^"[0-9a-f]{64}"$/);
  expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('content-security-policy')).toContain('sandbox');
  expect(headers.get('content-disposition')).toBe(
    `inline; filename="_n_ _x_.txt"; filename*=UTF-8''%C3%9Cn%C3%AF%20%22x%22.txt`,
  );
  expect((await get({}, learner, 'GET', '?download=1')).headers.get('content-disposition')).toStartWith(
    'attachment;',
  );
  const head = await get({}, learner, 'HEAD');
  expect([head.status, head.body]).toEqual([200, '']);
  for (const name of [
    'content-length',
    'etag',
    'content-type',
    'last-modified',
    'accept-ranges',
    'content-disposition',
  ]) {
    expect(head.headers.get(name)).toBe(headers.get(name));
  }
});

test('one range, the rest, the end; several; none of it there; and nonsense', async () => {
  const range = async (value: string, more = {}) => {
    const { status, body, headers } = await get({ range: value, ...more });
    return [status, body, headers.get('content-range'), headers.get('content-length')];
  };
  expect(await range('bytes=0-3')).toEqual([206, 'abcd', 'bytes 0-3/26', '4']);
  expect(await range('bytes=20-')).toEqual([206, 'uvwxyz', 'bytes 20-25/26', '6']);
  expect(await range('bytes=-3')).toEqual([206, 'xyz', 'bytes 23-25/26', '3']);
  expect(await range('bytes=-300')).toEqual([206, TEXT, 'bytes 0-25/26', '26']);
  expect(await range('bytes=24-99999999999999999999')).toEqual([206, 'yz', 'bytes 24-25/26', '2']);
  for (const nonsense of [
    'bytes=',
    'bytes=a-b',
    'bytes=5-2',
    'bytes=-',
    'lines=1-2',
    'bytes',
    '0-3',
    'bytes=1-2,x',
  ]) {
    expect(await range(nonsense)).toEqual([200, TEXT, null, '26']);
  }
  for (const unsatisfiable of ['bytes=26-', 'bytes=100-200', 'bytes=-0', `bytes=${'0-1,'.repeat(20)}0-1`]) {
    const refused = await get({ range: unsatisfiable });
    expect([refused.status, refused.body.code]).toEqual([416, 'range-not-satisfiable']);
    expect(refused.headers.get('content-range')).toBe('bytes */26');
  }
  const several = await get({ range: 'bytes=0-1, 10-11, -1' });
  expect(several.status).toBe(206);
  const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(several.headers.get('content-type')!)![1]!;
  expect(several.headers.get('content-length')).toBe(String(several.body.length));
  const parts = several.body
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((part: string) => part.split('\r\n\r\n'));
  expect(parts.map((part: string[]) => part[1]!.trim())).toEqual(['ab', 'kl', 'z']);
  expect(parts[1][0]).toContain('Content-Range: bytes 10-11/26');
  expect(several.body.endsWith(`--${boundary}--\r\n`)).toBe(true);
});

test('a cut download goes on where it stopped, if the file is still the same', async () => {
  const { headers } = await get();
  const [etag, date] = [headers.get('etag')!, headers.get('last-modified')!];
  const status = async (conditions: Record<string, string>) => (await get(conditions)).status;
  expect(await status({ range: 'bytes=5-', 'if-range': etag })).toBe(206);
  expect(await status({ range: 'bytes=5-', 'if-range': date })).toBe(206);
  expect(await status({ range: 'bytes=5-', 'if-range': '"another"' })).toBe(200);
  expect(await status({ range: 'bytes=5-', 'if-range': `W/${etag}` })).toBe(200);
  expect(await status({ 'if-none-match': etag })).toBe(304);
  expect(await status({ 'if-none-match': `"x", W/${etag}` })).toBe(304);
  expect(await status({ 'if-none-match': '"x"' })).toBe(200);
  expect(await status({ 'if-modified-since': date })).toBe(304);
  expect(await status({ 'if-modified-since': 'rubbish' })).toBe(200);
  expect(await status({ 'if-match': '"x"' })).toBe(412);
  expect(await status({ 'if-match': etag })).toBe(200);
  expect(await status({ 'if-unmodified-since': 'Mon, 01 Jan 2001 00:00:00 GMT' })).toBe(412);
});

test('files of a course are for those enrolled, private ones for their owner, public ones for all', async () => {
  const code = async (as: TestUser | undefined, of = fileId) => {
    const reply = await world.call('GET', `/api/content/files/${of}/content`, as ? { as } : {});
    return reply.status === 200 ? 'ok' : reply.body.code;
  };
  expect(await code(undefined)).toBe('not-found');
  expect(await code(stranger)).toBe('not-found');
  expect(await code(await world.signIn({ role: 'teacher' }))).toBe('not-found');
  expect(await code(await world.signIn({ role: 'admin' }))).toBe('ok');
  const secret = (await world.upload(teacher, `name=a.txt&courseId=${courseId}`, 'secret')).body.id;
  const open = (await world.upload(teacher, 'name=a.txt&visibility=public', 'open')).body.id;
  await world.settled(teacher, open);
  await world.settled(teacher, secret);
  expect(await code(learner, secret)).toBe('not-found');
  expect(await code(teacher, secret)).toBe('ok');
  expect(await code(undefined, open)).toBe('ok');
  const draft = (await world.course(teacher, { publish: false })).id;
  const early = (await world.upload(teacher, `name=a.txt&courseId=${draft}&visibility=course`, 'early')).body
    .id;
  await world.settled(teacher, early);
  expect(await code(learner, early)).toBe('not-found');
  expect((await world.call('DELETE', `/api/content/files/${fileId}`, { as: learner })).body.code).toBe(
    'forbidden',
  );
  expect((await world.call('DELETE', `/api/content/files/${fileId}`, { as: stranger })).body.code).toBe(
    'not-found',
  );
  const list = async (as: TestUser) =>
    (await world.call('GET', `/api/content/files?courseId=${courseId}`, { as })).body;
  expect((await list(learner)).items.map((item: { id: string }) => item.id)).toEqual([fileId]);
  expect((await list(teacher)).items.length).toBe(2);
  expect((await list(stranger)).code).toBe('forbidden');
});

test('a link works without a token until it expires, and only as it was made', async () => {
  const make = (as: TestUser, body: unknown) =>
    world.call('POST', `/api/content/files/${fileId}/links`, { as, body });
  expect((await make(learner, { expiresIn: 60 })).body.code).toBe('forbidden');
  expect((await make(teacher, { expiresIn: 0 })).status).toBe(400);
  const made = await make(teacher, { expiresIn: 60 });
  expect(made.status).toBe(201);
  expect(Date.parse(made.body.expiresAt)).toBeGreaterThan(Date.now() + 57_000);
  const link = made.body.url.replace('http://localhost:8080', '');
  expect((await world.call('GET', link)).body).toBe(TEXT);
  expect((await world.call('GET', link, { headers: { range: 'bytes=0-0' } })).body).toBe('a');
  const status = async (url: string) => (await world.call('GET', url)).status;
  expect(await status(link.replace(/expires=(\d)/, 'expires=9'))).toBe(403);
  expect(await status(link.replace(/signature=../, 'signature=AA'))).toBe(403);
  expect(await status(link.replace(/&signature=.*/, ''))).toBe(403);
  const short = (await make(teacher, { expiresIn: 1 })).body.url.replace('http://localhost:8080', '');
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const late = await world.call('GET', short);
  expect([late.status, late.body.detail]).toEqual([403, 'The link has expired.']);
});

test('a deleted file is gone with its bytes', async () => {
  const { id } = (await world.upload(teacher, 'name=gone.txt', 'gone')).body;
  const { object_key: key } = await world.db
    .selectFrom('files')
    .select('object_key')
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  await world.settled(teacher, id);
  expect((await world.call('DELETE', `/api/content/files/${id}`, { as: teacher })).status).toBe(204);
  expect((await world.call('GET', `/api/content/files/${id}/content`, { as: teacher })).status).toBe(404);
  expect((await world.call('DELETE', `/api/content/files/${id}`, { as: teacher })).status).toBe(404);
  for (const deadline = Date.now() + 5_000; (await world.deps.objects.size(key)) !== undefined; ) {
    if (Date.now() > deadline) throw new Error('the object is still there');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect((await world.published('file.deleted')).map((event) => event.subject)).toContain(id);
});
