import { afterAll, beforeAll, expect, test } from 'bun:test';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { AVATAR_LIMIT } from '../../../shared/contracts/profile.ts';
import { newId } from '../../../shared/ids.ts';
import { systemContext } from '../../../shared/service.ts';
import { startTestService, type TestService } from '../../../shared/testing/service.ts';
import { createProfile } from '../service.ts';
import { addPendingAvatar } from '../store/avatars.ts';
import type { ProfileTables } from '../store/tables.ts';
import { sweepAvatars } from './remove-avatars.ts';
import { avatarKey } from './serve-avatar.ts';

let world: TestService<ProfileTables>;
beforeAll(async () => {
  world = await startTestService(createProfile);
}, 60_000);
afterAll(() => world.stop());

const put = (as: Awaited<ReturnType<typeof world.signIn>>, body: Uint8Array | string) =>
  world.call('PUT', '/api/profiles/me/avatar', { as, body, headers: { 'content-type': 'image/jpeg' } });
/** Addresses are those of the gateway; the test asks the service itself. */
const local = (url: string) => world.url + new URL(url).pathname;
const picture = (format: 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' = 'jpeg') =>
  sharp({ create: { width: 120, height: 80, channels: 3, background: '#336699' } })
    .toFormat(format)
    .toBuffer();

test('a photograph becomes three upright squares without its metadata', async () => {
  const ada = await world.signIn();
  // Left half red, right half blue; the camera says that it was held turned by 90°.
  const right = await sharp({ create: { width: 300, height: 400, channels: 3, background: 'blue' } })
    .png()
    .toBuffer();
  const photo = await sharp({ create: { width: 600, height: 400, channels: 3, background: 'red' } })
    .composite([{ input: right, left: 300, top: 0 }])
    .withExif({ IFD0: { Copyright: 'SECRET-PLACE' } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  const answer = await put(ada, photo);
  expect(answer.status).toBe(200);
  expect(Object.keys(answer.body.avatar)).toEqual(['small', 'medium', 'large']);

  for (const [size, pixels] of [
    ['small', 64],
    ['medium', 256],
    ['large', 512],
  ] as const) {
    const response = await fetch(local(answer.body.avatar[size]));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('image/webp');
    expect(response.headers.get('cache-control')).toContain('immutable');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    const bytes = new Uint8Array(await response.arrayBuffer());
    const { width, height, exif, orientation } = await sharp(bytes).metadata();
    expect([width, height, exif, orientation]).toEqual([pixels, pixels, undefined, undefined]);
    expect(Buffer.from(bytes).includes('SECRET-PLACE')).toBe(false);
    if (size === 'large') {
      const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
      const at = (x: number, y: number) => [
        ...data.subarray((y * info.width + x) * info.channels).subarray(0, 3),
      ];
      expect(at(256, 20)[0]).toBeGreaterThan(200); // red is at the top now
      expect(at(256, 490)[2]).toBeGreaterThan(200); // and blue below
    }
  }
  const again = await fetch(local(answer.body.avatar.small), {
    headers: { 'if-none-match': `"${answer.body.avatar.small.split('/').at(-2)}-small"` },
  });
  expect(again.status).toBe(304);
  expect((await fetch(local(answer.body.avatar.small), { method: 'HEAD' })).status).toBe(200);
  const profile = await world.call('GET', '/api/profiles/me', { as: ada });
  expect(profile.body.avatar).toEqual(answer.body.avatar);
  const told = (await world.published('profile.updated')).filter((event) => event.subject === ada.userId);
  expect((told.at(-1)!.data as { avatar: string }).avatar).toBe(new URL(answer.body.avatar.small).pathname);
});

test('all five formats are taken, whatever the header says', async () => {
  const ada = await world.signIn();
  for (const format of ['jpeg', 'png', 'webp', 'gif', 'avif'] as const) {
    expect([format, (await put(ada, await picture(format))).status]).toEqual([format, 200]);
  }
});

test('a new avatar replaces the old one; removing it leaves none', async () => {
  const ada = await world.signIn();
  const first = (await put(ada, await picture())).body.avatar;
  const second = (await put(ada, await picture())).body.avatar;
  expect((await fetch(local(first.large))).status).toBe(404);
  expect((await fetch(local(second.large))).status).toBe(200);
  expect((await world.call('DELETE', '/api/profiles/me/avatar', { as: ada })).status).toBe(204);
  expect((await world.call('DELETE', '/api/profiles/me/avatar', { as: ada })).status).toBe(204);
  expect((await fetch(local(second.large))).status).toBe(404);
  expect((await world.call('GET', '/api/profiles/me', { as: ada })).body.avatar).toBeNull();

  await sweepAvatars(systemContext(world.deps), world.deps);
  const key = avatarKey(new URL(second.large).pathname.split('/').at(-2)!, 'large');
  expect(await world.deps.objects.size(key)).toBeUndefined();
});

test('an upload that was cut off by a crash is swept away, a fresh one is not', async () => {
  const { userId } = await world.signIn();
  const [old, fresh] = [newId(), newId()];
  for (const id of [old, fresh]) {
    await addPendingAvatar(world.db, id, userId);
    await world.deps.objects.put(avatarKey(id, 'small'), new Response('x').body!);
  }
  const past = new Date(Date.now() - 3_600_000);
  await world.db.updateTable('avatars').set({ changed_at: past }).where('id', '=', old).execute();
  await sweepAvatars(systemContext(world.deps), world.deps);
  expect(await world.deps.objects.size(avatarKey(old, 'small'))).toBeUndefined();
  expect(await world.deps.objects.size(avatarKey(fresh, 'small'))).toBe(1);
});

/** A PNG of `side` × `side` black pixels: a few kilobytes that unpack to gigabytes. */
function bomb(side: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.byteLength);
    checksum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, checksum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([1, 0, 0, 0, 0], 8); // 1 bit grey
  const rows = deflateSync(Buffer.alloc((Math.ceil(side / 8) + 1) * side));
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', rows),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

test('what is no good picture is refused, and the next good one works', async () => {
  const ada = await world.signIn();
  const jpeg = await sharp({ create: { width: 900, height: 900, channels: 3, background: 'green' } })
    .jpeg({ quality: 100 })
    .toBuffer();
  const cases: [string, Uint8Array | string, number, string][] = [
    ['nothing', new Uint8Array(), 400, 'validation-failed'],
    ['text', 'GET / HTTP/1.1 and so on', 415, 'unsupported-media-type'],
    ['an SVG', '<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', 415, 'unsupported-media-type'],
    ['a PDF', '%PDF-1.7 …', 415, 'unsupported-media-type'],
    ['half a JPEG', jpeg.subarray(0, jpeg.byteLength / 2), 400, 'validation-failed'],
    [
      'magic bytes and rubbish',
      Buffer.from('\x89PNG\r\n\x1a\nrubbish rubbish', 'latin1'),
      400,
      'validation-failed',
    ],
    ['a bomb', bomb(20_000), 400, 'validation-failed'],
    ['too much', new Uint8Array(AVATAR_LIMIT + 1), 413, 'too-large'],
  ];
  for (const [what, body, status, code] of cases) {
    const answer = await put(ada, body);
    expect([what, answer.status, answer.body.code]).toEqual([what, status, code]);
  }
  expect((await world.call('GET', '/api/profiles/me', { as: ada })).body.avatar).toBeNull();
  expect((await put(ada, await picture())).status).toBe(200);
});

test('an avatar’s address must be right', async () => {
  for (const path of [`${newId()}/small`, `${newId()}/huge`, 'x/small']) {
    const response = await fetch(`${world.url}/api/profiles/avatars/${path}`);
    expect([400, 404]).toContain(response.status);
  }
});
