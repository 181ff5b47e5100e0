import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { systemContext } from '../../../shared/service.ts';
import type { TestUser } from '../../../shared/testing/service.ts';
import { type ContentWorld, startContent } from '../testing.ts';
import { sweepUploads } from './discard-objects.ts';

let world: ContentWorld;
let teacher: TestUser;
let learner: TestUser;

beforeAll(async () => {
  world = await startContent();
  teacher = await world.signIn({ role: 'teacher', name: 'Ada' });
  learner = await world.signIn();
});
afterAll(() => world.stop());

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest();
const digest = (bytes: Uint8Array | string) => ({
  'content-digest': `sha-256=:${sha256(bytes).toString('base64')}:`,
});
const counts = async () => {
  const of = async (table: 'files' | 'uploads' | 'doomed_objects') =>
    Number(
      (
        await world.db
          .selectFrom(table)
          .select((eb) => eb.fn.countAll().as('n'))
          .executeTakeFirstOrThrow()
      ).n,
    );
  return { files: await of('files'), uploads: await of('uploads'), doomed: await of('doomed_objects') };
};
const until = async (check: () => Promise<boolean>) => {
  for (const deadline = Date.now() + 10_000; !(await check()); ) {
    if (Date.now() > deadline) throw new Error('did not come to be in 10 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

test('a file is kept with size, SHA-256 and the type its bytes have, whatever its name says', async () => {
  const text = '# Ropes\n\nÄ rope is a rope.';
  const { status, body } = await world.upload(teacher, 'name=ropes.md', text, digest(text));
  expect(status).toBe(201);
  expect(body).toMatchObject({
    name: 'ropes.md',
    size: new TextEncoder().encode(text).byteLength,
    type: 'text/markdown',
    sha256: sha256(text).toString('hex'),
    status: 'processing',
    visibility: 'private',
    courseId: null,
    ownerId: teacher.userId,
  });
  const type = async (name: string, bytes: Uint8Array | string) =>
    (await world.upload(teacher, `name=${name}`, bytes)).body.type;
  const zip = Buffer.concat([Buffer.from([0x50, 0x4b, 5, 6]), Buffer.alloc(18)]);
  expect(await type('photo.png', '%PDF-1.7\n%âãÏÓ\n')).toBe('application/pdf');
  expect(await type('harmless.txt', new Uint8Array(zip))).toBe('application/zip');
  expect(await type('broken.txt', new Uint8Array([0x61, 0xff, 0xfe, 0x62]))).toBe('application/octet-stream');
  expect(await type('unknown.bin', 'just text')).toBe('application/octet-stream');
});

test('names that would be paths, and other bad input, store nothing', async () => {
  const before = await counts();
  const status = async (query: string, body: Uint8Array | string = 'x', headers = {}) =>
    (await world.upload(teacher, query, body, headers)).status;
  for (const name of [
    '../up',
    'a/b',
    'a\\b',
    '..',
    'nul%00',
    'line%0Abreak',
    'x'.repeat(256),
    'x'.repeat(10_000),
    '',
  ]) {
    expect(`${name.slice(0, 10)} ${await status(`name=${name}`)}`).toBe(`${name.slice(0, 10)} 400`);
  }
  expect(await status('visibility=private')).toBe(400);
  expect(await status('name=a&visibility=course')).toBe(400);
  expect(await status('name=a&colour=red')).toBe(400);
  expect(await status('name=empty.bin', '')).toBe(400);
  expect(await status('name=a', 'x', { 'content-digest': 'sha-256=oops' })).toBe(400);
  expect(await status('name=a', 'x', { 'content-encoding': 'gzip' })).toBe(415);
  const wrong = await world.upload(teacher, 'name=a', 'x', digest('y'));
  expect([wrong.status, wrong.body.code]).toEqual([400, 'digest-mismatch']);
  expect(await counts()).toEqual(before);
});

test('only its teacher adds files to a course; learners keep private files', async () => {
  const { id } = await world.course(teacher);
  const draft = await world.course(teacher, { publish: false });
  const code = async (as: TestUser, query: string) =>
    (await world.upload(as, `name=a.txt&${query}`, 'a')).body.code;
  expect(await code(learner, `courseId=${id}`)).toBe('forbidden');
  expect(await code(learner, `courseId=${draft.id}`)).toBe('not-found');
  expect(await code(learner, 'visibility=public')).toBe('forbidden');
  expect((await world.upload(learner, 'name=a.txt', 'a')).status).toBe(201);
  expect((await world.upload(teacher, `name=a.txt&courseId=${id}&visibility=course`, 'a')).status).toBe(201);
});

test('512 MiB stream through without being held in memory', async () => {
  const chunk = new Uint8Array(randomBytes(1024 * 1024));
  const hash = createHash('sha256');
  let left = 512;
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  let peak = before;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left-- === 0) return controller.close();
      peak = Math.max(peak, process.memoryUsage().rss);
      hash.update(chunk);
      controller.enqueue(chunk.slice());
    },
  });
  const reply = await fetch(`${world.url}/api/content/files?name=video.mp4`, {
    method: 'POST',
    headers: teacher.headers,
    body,
  });
  const file = (await reply.json()) as { size: number; sha256: string };
  expect(file).toMatchObject({ size: 512 * 1024 * 1024, sha256: hash.digest('hex') });
  expect((peak - before) / 1024 / 1024).toBeLessThan(300);
});

/** Sends the head of an upload and `sent` bytes, waits until they arrive, then hangs up. */
async function cutUpload(head: string, sent: Uint8Array): Promise<void> {
  const { port } = new URL(world.url);
  const socket = connect(Number(port), '127.0.0.1');
  await new Promise((resolve) => socket.once('connect', resolve));
  socket.on('error', () => {});
  socket.write(
    `POST /api/content/files?name=cut.bin HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${teacher.token}\r\n${head}\r\n\r\n`,
  );
  socket.write(sent);
  await until(async () => (await counts()).uploads > 0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  socket.destroy();
}

test('half an upload leaves nothing, whether its length was said or not', async () => {
  const before = await counts();
  const half = new Uint8Array(randomBytes(2 * 1024 * 1024));
  await cutUpload(`content-length: ${half.byteLength * 2}`, half);
  await until(async () => (await counts()).uploads === 0);
  const size = half.byteLength.toString(16);
  await cutUpload(
    'transfer-encoding: chunked',
    Buffer.concat([Buffer.from(`${size}\r\n`), half, Buffer.from('\r\n')]),
  );
  await until(async () => (await counts()).uploads === 0);
  expect(await counts()).toEqual(before);
});

test('what a process left that died is swept, objects included', async () => {
  const context = systemContext(world.deps);
  await world.deps.objects.put('files/00/left', new Blob(['left']).stream());
  const lost = { id: crypto.randomUUID(), object_key: 'files/00/left', owner_id: teacher.userId };
  await world.db
    .insertInto('uploads')
    .values({ ...lost, heartbeat_at: new Date(Date.now() - 60_000) })
    .execute();
  await sweepUploads(context, world.deps.objects);
  expect(await world.deps.objects.size('files/00/left')).toBe(4);
  await world.db
    .updateTable('uploads')
    .set({ heartbeat_at: new Date(Date.now() - 180_000) })
    .execute();
  await sweepUploads(context, world.deps.objects);
  expect(await world.deps.objects.size('files/00/left')).toBeUndefined();
  expect(await counts()).toMatchObject({ uploads: 0, doomed: 0 });
});

test('a repeat with the same idempotency key is the same file; another content is refused', async () => {
  const key = { 'idempotency-key': 'upload-1' };
  const before = await counts();
  const first = await world.upload(teacher, 'name=a.txt', 'once', key);
  const again = await world.upload(teacher, 'name=a.txt', 'once', key);
  expect(again.status).toBe(201);
  expect(again.body).toEqual(first.body);
  expect((await world.upload(teacher, 'name=a.txt', 'twice', key)).body.code).toBe('idempotency-key-reused');
  await until(async () => (await counts()).doomed === 0);
  expect(await counts()).toEqual({ ...before, files: before.files + 1 });
});

test('a form with one file is an upload too; other forms are refused', async () => {
  const form = (...parts: [string, string, string?][]) => {
    const data = new FormData();
    for (const [field, text, name] of parts) {
      if (name === undefined) data.append(field, text);
      else data.append(field, new Blob([text]), name);
    }
    return data;
  };
  const send = (body: FormData, query = '') =>
    world.call('POST', `/api/content/files?${query}`, { as: teacher, body });
  const before = await counts();
  const sent = await send(form(['file', 'formed', 'from a form.txt']));
  expect(sent.status).toBe(201);
  expect(sent.body).toMatchObject({
    name: 'from a form.txt',
    size: 6,
    type: 'text/plain',
    sha256: sha256('formed').toString('hex'),
  });
  expect((await send(form(['file', 'named', 'x.txt']), 'name=other.txt')).body.name).toBe('other.txt');
  expect((await send(form(['file', 'a', '../../etc/passwd']))).status).toBe(400);
  expect((await send(form(['file', 'a', 'a.txt'], ['file', 'b', 'b.txt']))).status).toBe(400);
  expect((await send(form(['file', 'a', 'a.txt'], ['extra', 'b']))).status).toBe(400);
  expect((await send(form(['other', 'a', 'a.txt']))).status).toBe(400);
  expect((await send(form(['file', '', 'a.txt']))).status).toBe(400);
  const broken = await world.upload(
    teacher,
    '',
    '--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf a form',
    {
      'content-type': 'multipart/form-data; boundary=b',
    },
  );
  expect(broken.status).toBe(400);
  expect(await counts()).toEqual({ ...before, files: before.files + 2 });

  const large = randomBytes(8 * 1024 * 1024);
  const data = new FormData();
  data.append('file', new Blob([new Uint8Array(large)]), 'large.bin');
  expect((await send(data)).body.sha256).toBe(sha256(new Uint8Array(large)).toString('hex'));
});
