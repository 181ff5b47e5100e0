import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHash } from 'node:crypto';
import type { Socket } from 'socket.io-client';
import { simplePdf } from '../../deploy/demo/pdf.ts';
import { nightSky } from '../../deploy/demo/pictures.ts';
import {
  Api,
  ask,
  connect,
  eventually,
  mailsTo,
  must,
  newPerson,
  type Person,
  signIn,
  signInAs,
} from '../support/people.ts';
import type { TestPlatform } from '../support/platform.ts';

/** One day at a small school, through the gateway only. The same tests run on every mode of the platform. */
export function schoolDay(
  mode: string,
  start: () => Promise<TestPlatform>,
  options: { videoBytes: number },
): void {
  describe(`a school day, ${mode}`, () => {
    let platform: TestPlatform;
    let teacher: Person;
    let learner: Person;
    let stranger: Person;
    let admin: Person;
    let courseId: string;
    let roomId: string;
    const lessonIds: string[] = [];
    const files: Record<'photo' | 'handout' | 'video' | 'secret', { id: string; sha256: string }> =
      {} as never;

    beforeAll(async () => {
      platform = await start();
    }, 300_000);
    afterAll(async () => {
      await platform?.dispose();
    }, 60_000);

    test('a newcomer sees what this is, the documentation, and demo accounts', async () => {
      const page = await fetch(`${platform.url}/`);
      expect(page.status).toBe(200);
      expect(await page.text()).toContain('Lyceum');
      expect((await fetch(`${platform.url}/docs`)).status).toBe(200);
      const document = await must(new Api(platform.url).get('/openapi.json'), 'openapi');
      expect(document.openapi).toStartWith('3.1');
      for (const path of [
        '/api/auth/login',
        '/api/content/courses',
        '/api/chat/rooms',
        '/api/profiles/me',
        '/api/notifications',
        '/api/analytics/events/batch',
      ]) {
        expect(Object.keys(document.paths)).toContain(path);
      }
      expect(platform.accounts.map((account) => account.role).sort()).toEqual([
        'admin',
        'learner',
        'teacher',
      ]);
      admin = await signInAs(platform, 'admin');
    });

    test('people sign up, prove their address and sign in', async () => {
      teacher = await newPerson(platform, 'Tea Cher', 'teacher');
      learner = await newPerson(platform, 'Lea Rner');
      stranger = await newPerson(platform, 'Stran Ger');
      const { user } = await must(learner.api.get('/api/auth/me'), 'me');
      expect(user).toMatchObject({ id: learner.id, role: 'learner', emailVerified: true });
    });

    test('a refresh token works once, and a log-out ends the access token on every service at once', async () => {
      const who = await newPerson(platform, 'Brief Visit');
      const api = new Api(platform.url);
      const login = await must(
        api.post('/api/auth/login', { email: who.email, password: who.password }),
        'login',
      );
      const next = await must(api.post('/api/auth/refresh', { refreshToken: login.refreshToken }), 'refresh');
      const reused = await api.post('/api/auth/refresh', { refreshToken: login.refreshToken });
      expect([reused.status, reused.body.code]).toEqual([401, 'refresh-reused']);
      expect((await api.post('/api/auth/refresh', { refreshToken: next.refreshToken })).status).toBe(401);

      const again = await signIn(platform, who.email, who.password);
      expect((await again.api.post('/api/auth/logout')).status).toBe(204);
      for (const path of [
        '/api/auth/me',
        '/api/content/files',
        '/api/chat/rooms',
        '/api/profiles/me',
        '/api/notifications',
        '/api/analytics/reports/me',
      ]) {
        expect([path, (await again.api.get(path)).status]).toEqual([path, 401]);
      }
    });

    test('a teacher makes a course with lessons and files', async () => {
      const course = await must(
        teacher.api.post('/api/content/courses', {
          title: 'Rivers & lakes',
          summary: 'Water',
          language: 'en',
        }),
        'course',
      );
      courseId = course.id;
      expect(course).toMatchObject({ status: 'draft', teacher: { id: teacher.id, displayName: 'Tea Cher' } });
      expect((await learner.api.get(`/api/content/courses/${courseId}`)).status).toBe(404);

      const upload = async (name: string, bytes: Uint8Array, visibility = 'course') => {
        const sha256 = createHash('sha256').update(bytes).digest();
        const response = await fetch(
          `${platform.url}/api/content/files?name=${name}&courseId=${courseId}&visibility=${visibility}`,
          {
            method: 'POST',
            headers: {
              authorization: `Bearer ${teacher.token}`,
              'content-type': 'application/octet-stream',
              'content-digest': `sha-256=:${sha256.toString('base64')}:`,
            },
            body: bytes as BodyInit,
          },
        );
        const file = (await response.json()) as { id: string; sha256: string; size: number; code?: string };
        expect([name, response.status, file.code]).toEqual([name, 201, undefined]);
        expect(file).toMatchObject({ size: bytes.byteLength, sha256: sha256.toString('hex') });
        return file;
      };
      files.photo = await upload('river.png', nightSky(320, 200));
      files.handout = await upload('rivers.pdf', simplePdf('Rivers', ['A meander is a bend of a river.']));
      files.secret = await upload('answers.txt', new TextEncoder().encode('forty-two'), 'private');
      for (const kind of ['Sources', 'Mouths']) {
        const lesson = await must(
          teacher.api.post(`/api/content/courses/${courseId}/lessons`, {
            title: kind,
            kind: 'text',
            body: `# ${kind}`,
            module: 'One',
          }),
          'lesson',
        );
        lessonIds.push(lesson.id);
      }
    });

    test('a video-sized file streams through', async () => {
      const piece = new Uint8Array(1 << 20).map((_, index) => (index * 31) & 255);
      const count = Math.ceil(options.videoBytes / piece.byteLength);
      const hash = createHash('sha256');
      let sent = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (sent === count) return controller.close();
          sent++;
          hash.update(piece);
          controller.enqueue(piece.slice());
        },
      });
      const response = await fetch(
        `${platform.url}/api/content/files?name=lecture.mp4&courseId=${courseId}&visibility=course`,
        {
          method: 'POST',
          headers: { authorization: `Bearer ${teacher.token}`, 'content-type': 'video/mp4' },
          body,
        },
      );
      files.video = (await response.json()) as { id: string; sha256: string };
      expect(response.status).toBe(201);
      expect(files.video).toMatchObject({ size: count * piece.byteLength, sha256: hash.digest('hex') });
      const lesson = await must(
        teacher.api.post(`/api/content/courses/${courseId}/lessons`, {
          title: 'Watch',
          kind: 'file',
          fileIds: [files.photo.id, files.handout.id, files.video.id],
        }),
        'lesson',
      );
      lessonIds.push(lesson.id);
      expect(lesson.files).toHaveLength(3);
    }, 240_000);

    test('files are processed, and a broken one is rejected with a word to its owner', async () => {
      const broken = await teacher.api.upload(
        `/api/content/files?name=broken.png&courseId=${courseId}`,
        nightSky(64, 64).slice(0, 900),
        'image/png',
        crypto.randomUUID(),
      );
      expect(broken.status).toBe(201);
      const settled = (id: string) =>
        eventually(
          'processing',
          async () => {
            const file = await must(teacher.api.get(`/api/content/files/${id}`), 'file');
            return file.status === 'processing' ? undefined : (file.status as string);
          },
          60_000,
        );
      expect(await settled(files.photo.id)).toBe('ready');
      expect(await settled(files.handout.id)).toBe('ready');
      expect(await settled(files.video.id)).toBe('ready');
      expect(await settled(broken.body.id)).toBe('rejected');
      await eventually('the notification', async () => {
        const { items } = await must(teacher.api.get('/api/notifications?limit=100'), 'notifications');
        return items.find((item: { title: string; body: string }) =>
          `${item.title} ${item.body}`.includes('broken.png'),
        );
      });
    }, 120_000);

    test('a learner finds the published course, enrols and reads', async () => {
      expect(
        (await must(teacher.api.post(`/api/content/courses/${courseId}/publish`), 'publish')).status,
      ).toBe('published');
      const found = await must(learner.api.get('/api/content/courses?q=rivers'), 'search');
      expect(found.items.map((course: { id: string }) => course.id)).toContain(courseId);
      expect((await learner.api.get(`/api/content/lessons/${lessonIds[0]}`)).status).toBe(403);
      const enrolled = await learner.api.post(`/api/content/courses/${courseId}/enrolments`);
      expect(enrolled.status).toBe(201);
      expect((await learner.api.post(`/api/content/courses/${courseId}/enrolments`)).status).toBe(200);
      expect(
        (await must(learner.api.get(`/api/content/courses/${courseId}/lessons`), 'lessons')).items,
      ).toHaveLength(3);
      expect((await must(learner.api.get(`/api/content/lessons/${lessonIds[0]}`), 'lesson')).body).toBe(
        '# Sources',
      );
    });

    test('downloads resume, repeat and refuse', async () => {
      const get = (id: string, as: Person | undefined, headers: Record<string, string> = {}) =>
        fetch(`${platform.url}/api/content/files/${id}/content`, {
          headers: { ...(as ? { authorization: `Bearer ${as.token}` } : {}), ...headers },
        });
      const whole = await get(files.photo.id, learner);
      const bytes = new Uint8Array(await whole.arrayBuffer());
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(files.photo.sha256);
      expect(whole.headers.get('content-length')).toBe(String(bytes.byteLength));

      const rest = await get(files.photo.id, learner, {
        range: 'bytes=100-',
        'if-range': whole.headers.get('etag')!,
      });
      expect([rest.status, rest.headers.get('content-range')]).toEqual([
        206,
        `bytes 100-${bytes.byteLength - 1}/${bytes.byteLength}`,
      ]);
      expect(new Uint8Array(await rest.arrayBuffer())).toEqual(bytes.slice(100));
      const several = await get(files.photo.id, learner, { range: 'bytes=0-9,20-29' });
      expect(several.status).toBe(206);
      expect(several.headers.get('content-type')).toStartWith('multipart/byteranges');
      expect(
        (await get(files.photo.id, learner, { 'if-none-match': whole.headers.get('etag')! })).status,
      ).toBe(304);
      expect((await get(files.photo.id, learner, { range: 'bytes=99999999-' })).status).toBe(416);

      for (const [id, who, status] of [
        [files.secret.id, learner, 404],
        [files.photo.id, stranger, 404],
        [files.photo.id, undefined, 404],
      ] as const) {
        expect((await get(id, who)).status).toBe(status);
      }
      const link = await must(
        teacher.api.post(`/api/content/files/${files.secret.id}/links`, { expiresIn: 1 }),
        'link',
      );
      const address = new URL(link.url);
      const opened = () => fetch(platform.url + address.pathname + address.search);
      expect(await (await opened()).text()).toBe('forty-two');
      await Bun.sleep(1_500);
      expect((await opened()).status).toBe(403);
    });

    test('half an upload leaves nothing behind', async () => {
      const before = (
        await must(teacher.api.get(`/api/content/files?courseId=${courseId}&limit=100`), 'files')
      ).items.length;
      const abort = new AbortController();
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          controller.enqueue(new Uint8Array(1 << 20));
          await Bun.sleep(5);
        },
      });
      setTimeout(() => abort.abort(), 300);
      const cut = fetch(`${platform.url}/api/content/files?name=cut.bin&courseId=${courseId}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${teacher.token}`, 'content-type': 'application/octet-stream' },
        body,
        signal: abort.signal,
      });
      expect(cut).rejects.toThrow();
      await cut.catch(() => {});
      await Bun.sleep(1_000);
      const after = (
        await must(teacher.api.get(`/api/content/files?courseId=${courseId}&limit=100`), 'files')
      ).items.length;
      expect(after).toBe(before);
    });

    describe('in the course room', () => {
      let t: Socket;
      let l: Socket;
      afterAll(() => {
        t?.close();
        l?.close();
      });

      test('teacher and learner are in it, a stranger is not', async () => {
        roomId = await eventually('the room', async () => {
          const { items } = await must(learner.api.get('/api/chat/rooms'), 'rooms');
          return items.find((room: { courseId: string | null }) => room.courseId === courseId)?.id;
        });
        t = await connect(platform, teacher.token);
        l = await connect(platform, learner.token);
        expect(await ask(t, 'room:join', { roomId })).toMatchObject({ ok: true });
        expect(await ask(l, 'room:join', { roomId })).toMatchObject({ ok: true, hasMore: false });
        const outside = await connect(platform, stranger.token);
        expect(await ask(outside, 'room:join', { roomId })).toMatchObject({ ok: false });
        expect(
          await ask(outside, 'message:send', { roomId, clientId: crypto.randomUUID(), body: 'hi' }),
        ).toMatchObject({ ok: false });
        outside.close();
      });

      test('a bad token is refused with its code', async () => {
        const refused = await connect(platform, 'not-a-token').catch((error) => error);
        expect(refused.data.code).toBe('unauthenticated');
      });

      test('messages come in order, numbered without gaps, and a resent one is the same', async () => {
        const seen: number[] = [];
        l.on('message', (event) => seen.push((event.message ?? event).seq));
        const sent = await Promise.all(
          Array.from({ length: 30 }, (_, index) =>
            ask(index % 2 ? t : l, 'message:send', {
              roomId,
              clientId: `day-${index}-${courseId}`,
              body: `number ${index}`,
            }),
          ),
        );
        const seqs = sent.map((ack) => ack.message.seq as number).sort((a, b) => a - b);
        expect(seqs).toEqual(Array.from({ length: 30 }, (_, index) => seqs[0]! + index));
        await eventually('delivery', async () => (seen.length >= 30 ? true : undefined));
        expect(seen).toEqual([...seen].sort((a, b) => a - b));
        expect(new Set(seen).size).toBe(30);
        const again = await ask(l, 'message:send', {
          roomId,
          clientId: `day-0-${courseId}`,
          body: 'number 0',
        });
        expect(again.message.id).toBe(sent[0].message.id);
        l.off('message');
      });

      test('who was away gets what was missed, once', async () => {
        const { lastSeq } = await ask(l, 'room:join', { roomId });
        l.disconnect();
        for (let index = 0; index < 10; index++) {
          await ask(t, 'message:send', {
            roomId,
            clientId: `away-${index}-${courseId}`,
            body: `while you were out ${index}`,
          });
        }
        l = await connect(platform, learner.token);
        const missed = await ask(l, 'room:join', { roomId, after: lastSeq });
        expect(missed.messages.map((message: { seq: number }) => message.seq)).toEqual(
          Array.from({ length: 10 }, (_, index) => lastSeq + 1 + index),
        );
      });

      test('typing and presence are seen', async () => {
        const typing = new Promise((resolve) => t.once('typing', resolve));
        l.emit('typing', { roomId });
        expect(await typing).toMatchObject({ roomId, userId: learner.id });
        const online = await eventually('presence', async () => {
          const ack = await ask(t, 'presence:list', { roomId });
          return ack.online.length >= 2 ? (ack.online as string[]) : undefined;
        });
        expect(online.sort()).toEqual([teacher.id, learner.id].sort());
      });

      test('a mention reaches the teacher live, in the list and by mail', async () => {
        const live = await connect(platform, teacher.token, '/notifications');
        const arrived = new Promise<{ kind: string }>((resolve) =>
          live.on('notification', (n) => n.kind === 'mention' && resolve(n)),
        );
        await ask(l, 'message:send', {
          roomId,
          clientId: `mention-${courseId}`,
          body: `<@${teacher.id}> a question`,
        });
        expect((await arrived).kind).toBe('mention');
        const { items } = await must(teacher.api.get('/api/notifications?unread=true'), 'notifications');
        expect(items.some((item: { kind: string }) => item.kind === 'mention')).toBe(true);
        await eventually('the mail', async () =>
          (await mailsTo(platform, teacher.email)).find((mail) => mail.subject.includes('Lea Rner')),
        );
        live.close();
      });
    });

    test('lessons are completed, progress counts, and the end is celebrated', async () => {
      for (const [index, lessonId] of lessonIds.entries()) {
        const { progress } = await must(
          learner.api.put(`/api/content/lessons/${lessonId}/completion`),
          'complete',
        );
        expect(progress).toMatchObject({ completed: index + 1, total: 3 });
      }
      expect(
        (await must(learner.api.get(`/api/content/courses/${courseId}/progress`), 'progress')).percent,
      ).toBe(100);
      await eventually('congratulations', async () => {
        const { items } = await must(learner.api.get('/api/notifications'), 'notifications');
        return items.find((item: { kind: string }) => item.kind === 'course-completed');
      });
    });

    test('a profile has a face, and a changed name shows in the room', async () => {
      await must(
        learner.api.patch('/api/profiles/me', { displayName: 'Lea Renamed', bio: 'I like lakes.' }),
        'profile',
      );
      const face = await fetch(`${platform.url}/api/profiles/me/avatar`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${learner.token}`, 'content-type': 'image/png' },
        body: nightSky(300, 300) as BodyInit,
      });
      expect(face.status).toBe(200);
      const { avatar } = (await face.json()) as { avatar: Record<string, string> };
      for (const size of ['small', 'medium', 'large']) {
        const picture = await fetch(
          new URL(avatar[size]!, platform.url).href.replace('localhost', '127.0.0.1'),
        );
        expect([size, picture.status]).toEqual([size, 200]);
      }
      await eventually('the new name', async () => {
        const { items } = await must(teacher.api.get(`/api/chat/rooms/${roomId}/members`), 'members');
        return items.find((member: { displayName: string }) => member.displayName === 'Lea Renamed');
      });
      const said = await must(
        learner.api.post(`/api/chat/rooms/${roomId}/messages`, {
          clientId: crypto.randomUUID(),
          body: 'new name',
        }),
        'say',
      );
      expect(said.author.displayName).toBe('Lea Renamed');
    });

    test('events of the browser and of the platform make the reports', async () => {
      const events = Array.from({ length: 20 }, () => ({
        id: crypto.randomUUID(),
        name: 'lesson.viewed',
        at: new Date().toISOString(),
        courseId,
        lessonId: lessonIds[0],
      }));
      const first = await must(learner.api.post('/api/analytics/events/batch', { events }), 'batch');
      expect(first).toMatchObject({ accepted: 20, duplicates: 0, rejected: [] });
      const second = await must(learner.api.post('/api/analytics/events/batch', { events }), 'batch');
      expect(second).toMatchObject({ accepted: 0, duplicates: 20 });
      const overview = await eventually('the report', async () => {
        const report = await must(
          teacher.api.get(`/api/analytics/reports/courses/${courseId}/overview`),
          'overview',
        );
        return report.completions === 1 && report.messages >= 42 ? report : undefined;
      });
      expect(overview).toMatchObject({ enrolled: 1, completions: 1, averagePercent: 100 });
      const activity = await must(
        teacher.api.get(`/api/analytics/reports/courses/${courseId}/activity?bucket=day`),
        'activity',
      );
      expect(
        activity.items.reduce((sum: number, item: { events: number }) => sum + item.events, 0),
      ).toBeGreaterThan(60);
      const { items } = await must(
        teacher.api.get(`/api/analytics/reports/courses/${courseId}/learners`),
        'learners',
      );
      expect(items).toHaveLength(1);
      expect((await learner.api.get('/api/analytics/reports/me')).status).toBe(200);
      expect((await admin.api.get('/api/analytics/reports/platform')).status).toBe(200);
      expect((await learner.api.get('/api/analytics/reports/platform')).status).toBe(403);
    });

    test('stop and start: everything is still there', async () => {
      expect(await platform.stop()).toBe(0);
      await platform.restart();
      const back = await signIn(platform, learner.email, learner.password);
      expect(
        (await must(back.api.get(`/api/content/courses/${courseId}/progress`), 'progress')).percent,
      ).toBe(100);
      const { items } = await must(
        back.api.get(`/api/chat/rooms/${roomId}/messages?after=0&limit=100`),
        'messages',
      );
      expect(items.map((message: { seq: number }) => message.seq)).toEqual(
        items.map((_: unknown, index: number) => index + 1),
      );
      const photo = await fetch(`${platform.url}/api/content/files/${files.photo.id}/content`, {
        headers: { authorization: `Bearer ${back.token}` },
      });
      expect(
        createHash('sha256')
          .update(new Uint8Array(await photo.arrayBuffer()))
          .digest('hex'),
      ).toBe(files.photo.sha256);
      expect((await mailsTo(platform, learner.email)).length).toBeGreaterThan(0);
    }, 240_000);
  });
}
