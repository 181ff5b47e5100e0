import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { Socket } from 'socket.io-client';
import { ask, connect, eventually, must, newPerson, type Person, signInAs } from '../support/people.ts';
import type { TestPlatform } from '../support/platform.ts';

/** All that chat offers, once, through the gateway with an unmodified client: on one process and on several. */
export function chatFeatures(mode: string, start: () => Promise<TestPlatform>): void {
  describe(`chat ${mode}`, () => {
    setDefaultTimeout(60_000);
    let platform: TestPlatform;
    let ada: Person;
    let ben: Person;
    let cleo: Person;
    let admin: Person;
    const sockets: Socket[] = [];

    beforeAll(async () => {
      platform = await start();
      ada = await signInAs(platform, 'teacher');
      admin = await signInAs(platform, 'admin');
      ben = await newPerson(platform, 'Ben');
      cleo = await newPerson(platform, 'Cleo');
    }, 300_000);
    afterEach(() => {
      for (const socket of sockets.splice(0)) socket.close();
    });
    afterAll(async () => {
      await platform?.dispose();
    }, 60_000);

    const on = async (person: Person, namespace?: string): Promise<Socket> => {
      const socket = await connect(platform, person.token, namespace);
      sockets.push(socket);
      return socket;
    };
    const next = <T>(socket: Socket, event: string): Promise<T> =>
      Promise.race([
        new Promise<T>((resolve) => socket.once(event, resolve)),
        Bun.sleep(20_000).then((): T => {
          throw new Error(`no ${event}`);
        }),
      ]);
    const group = async (owner: Person, members: Person[], name = 'Study group'): Promise<string> => {
      const memberIds = members.map(({ id }) => id);
      // Chat learns of people by events.
      const room = await eventually('the group', async () => {
        const reply = await owner.api.post('/api/chat/rooms', { kind: 'group', name, memberIds });
        return reply.status === 201 ? reply.body : undefined;
      });
      return room.id;
    };
    const say = async (socket: Socket, roomId: string, body: string, more: object = {}) => {
      const ack = await ask(socket, 'message:send', { roomId, clientId: crypto.randomUUID(), body, ...more });
      if (!ack.ok) throw new Error(ack.error.code);
      return ack.message;
    };
    const room = (id: string, path = '') => `/api/chat/rooms/${id}${path}`;
    const joined = async (person: Person, roomId: string): Promise<Socket> => {
      const socket = await on(person);
      expect(await ask(socket, 'room:join', { roomId })).toMatchObject({ ok: true });
      return socket;
    };

    test('rooms: groups and direct ones, last active first, with what is unread; rename, leave, archive', async () => {
      const [one, two] = [await group(ada, [ben], 'One'), await group(ada, [ben], 'Two')];
      const direct = await ben.api.post('/api/chat/rooms', { kind: 'direct', memberIds: [ada.id] });
      expect(direct.body.kind).toBe('direct');
      expect((await ada.api.post('/api/chat/rooms', { kind: 'direct', memberIds: [ben.id] })).status).toBe(
        200,
      );
      const hers = await joined(ada, one);
      await say(hers, one, 'First');
      await say(hers, one, 'Second');
      const { items } = await must(ben.api.get('/api/chat/rooms'), 'rooms');
      expect(items[0]).toMatchObject({ id: one, unread: 2, lastSeq: 2, readSeq: 0, role: 'member' });

      const [his, phone] = [await on(ben), await on(ben)];
      const read = next(phone, 'read');
      expect(await ask(his, 'read', { roomId: one, seq: 2 })).toMatchObject({ ok: true });
      expect(await read).toEqual({ roomId: one, userId: ben.id, seq: 2 });
      expect((await must(ben.api.get(room(one)), 'room')).unread).toBe(0);

      const updated = next(hers, 'room:updated');
      await must(ada.api.patch(room(one), { name: 'Renamed' }), 'rename');
      expect(await updated).toMatchObject({ id: one, name: 'Renamed' });
      await must(ada.api.patch(room(one), { archived: true }), 'archive');
      expect(await ask(hers, 'message:send', { roomId: one, clientId: 'late', body: 'x' })).toMatchObject({
        error: { code: 'conflict' },
      });
      await must(ada.api.patch(room(one), { archived: false }), 'unarchive');

      await must(ben.api.delete(room(two, `/members/${ben.id}`)), 'leave');
      expect((await ben.api.get(room(two))).status).toBe(404);
    });

    test('members: an invitation reaches its receiver live and among the notifications', async () => {
      const roomId = await group(ada, [ben]);
      await must(ada.api.patch(room(roomId, `/members/${ben.id}`), { role: 'moderator' }), 'role');
      const [bell, hers] = [await on(cleo, '/notifications'), await on(cleo)];
      const invited = next<{ id: string }>(hers, 'invitation');
      const notified = next<{ kind: string; title: string }>(bell, 'notification');
      await must(ben.api.post(room(roomId, '/invitations'), { userIds: [cleo.id] }), 'invite');
      const { id } = await invited;
      expect(await notified).toMatchObject({ kind: 'invitation', title: 'Ben invited you into Study group' });
      const { items } = await must(cleo.api.get('/api/notifications?unread=true'), 'notifications');
      expect(items[0]).toMatchObject({ kind: 'invitation', link: '/#/invitations' });
      expect((await ada.api.post(`/api/chat/invitations/${id}/accept`)).status).toBe(404);
      await must(cleo.api.post(`/api/chat/invitations/${id}/accept`), 'accept');
      const members = (await must(ada.api.get(room(roomId, '/members')), 'members')).items;
      expect(members.map(({ userId, role }: { userId: string; role: string }) => [userId, role])).toEqual(
        expect.arrayContaining([
          [ada.id, 'owner'],
          [ben.id, 'moderator'],
          [cleo.id, 'member'],
        ]),
      );
    });

    test('messages: mentions, threads, reactions, edits with their history, pins, deletion', async () => {
      const roomId = await group(ada, [ben, cleo]);
      const [hers, his] = [await joined(ada, roomId), await joined(ben, roomId)];
      const told = next(his, 'message');
      const text = `**Hi** <@${ben.id}> <@room> 👩‍🏫 שלום e\u0301 https://school.example/x`;
      const first = await say(hers, roomId, text);
      expect(first).toMatchObject({ body: text, mentions: [ben.id], mentionsRoom: true, seq: 1 });
      expect(await told).toEqual(first);

      const thread = next(hers, 'thread');
      const reply = await say(his, roomId, 'Yes', { replyTo: first.id });
      expect(await thread).toMatchObject({ messageId: first.id, replyCount: 1 });
      const { items } = await must(ada.api.get(room(roomId, `/messages/${first.id}/replies`)), 'replies');
      expect(items).toEqual([reply]);

      const reaction = next(hers, 'reaction');
      await ask(his, 'reaction:add', { messageId: first.id, emoji: '🎉' });
      expect(await reaction).toMatchObject({
        userId: ben.id,
        added: true,
        reactions: [{ emoji: '🎉', count: 1 }],
      });

      const edited = next<{ body: string; editedAt: string }>(hers, 'message:edited');
      await ask(his, 'message:edit', { messageId: reply.id, body: 'Yes!' });
      expect(await edited).toMatchObject({ body: 'Yes!', editedAt: expect.any(String) });
      const versions = await must(ben.api.get(`/api/chat/messages/${reply.id}/history`), 'versions');
      expect(versions.items.map(({ body }: { body: string }) => body)).toEqual(['Yes', 'Yes!']);
      expect((await cleo.api.get(`/api/chat/messages/${reply.id}/history`)).status).toBe(403);

      const pin = next(his, 'pin');
      await must(ada.api.put(room(roomId, `/pins/${first.id}`)), 'pin');
      expect(await pin).toMatchObject({ messageId: first.id, pinnedAt: expect.any(String) });
      expect((await must(ben.api.get(room(roomId, '/pins')), 'pins')).items[0].id).toBe(first.id);

      const deleted = next(hers, 'message:deleted');
      await ask(his, 'message:delete', { messageId: reply.id });
      expect(await deleted).toMatchObject({ body: '', attachments: [], deletedAt: expect.any(String) });
      expect(
        (await must(ada.api.get(room(roomId, '/changes')), 'changes')).lastChange,
      ).toBeGreaterThanOrEqual(5);
      const page = await ask(hers, 'room:join', { roomId, after: 0, changesAfter: 0 });
      expect(page.messages.map(({ seq }: { seq: number }) => seq)).toEqual([1, 2]);
      expect(page.changes.length).toBe(2);
    });

    test('attachments: rights at sending and at reading, live too; the bytes are content’s to refuse', async () => {
      const course = await must(ada.api.post('/api/content/courses', { title: 'Attached' }), 'course');
      await must(ada.api.post(`/api/content/courses/${course.id}/publish`), 'publish');
      await must(ben.api.post(`/api/content/courses/${course.id}/enrolments`), 'enrol');
      const upload = async (who: Person, query: string) =>
        (
          await must(
            who.api.upload(
              `/api/content/files?${query}`,
              new TextEncoder().encode('words'),
              'text/plain',
              crypto.randomUUID(),
            ),
            'upload',
          )
        ).id as string;
      const ofCourse = await upload(ada, `name=course.txt&courseId=${course.id}&visibility=course`);
      const open = await upload(ada, 'name=open.txt&visibility=public');
      const private_ = await upload(cleo, 'name=private.txt');
      const roomId = await group(ada, [ben, cleo]);
      const [hers, his, cleos] = [
        await joined(ada, roomId),
        await joined(ben, roomId),
        await joined(cleo, roomId),
      ];
      expect(
        await ask(hers, 'message:send', {
          roomId,
          clientId: 'stolen',
          body: '',
          attachments: [{ fileId: private_ }],
        }),
      ).toMatchObject({ error: { code: 'validation-failed' } });

      const [live, foreign] = [
        next<{ attachments: unknown[] }>(his, 'message'),
        next<{ attachments: unknown[] }>(cleos, 'message'),
      ];
      const beat = next(his, 'room:beat');
      const message = await eventually('the files', async () => {
        const input = {
          roomId,
          clientId: 'both',
          body: '',
          attachments: [{ fileId: ofCourse }, { fileId: open }],
        };
        const ack = await ask(hers, 'message:send', input);
        return ack.ok ? ack.message : undefined;
      });
      const names = (attachments: unknown[]) => (attachments as { name: string }[]).map(({ name }) => name);
      expect(names(message.attachments)).toEqual(['course.txt', 'open.txt']);
      // What only some may see is in nobody's live message; a beat says that there is more to ask for.
      expect(names((await live).attachments)).toEqual(['open.txt']);
      expect(names((await foreign).attachments)).toEqual(['open.txt']);
      expect(await beat).toMatchObject({ roomId, lastSeq: 1, lastChange: 1 });
      const seenBy = async (socket: Socket) =>
        names((await ask(socket, 'room:join', { roomId, after: 1, changesAfter: 0 })).changes[0].attachments);
      await eventually('the enrolment', async () => ((await seenBy(his)).length === 2 ? true : undefined));
      expect(await seenBy(cleos)).toEqual(['open.txt']);
      const edited = new Promise<void>((resolve) =>
        his.on('room:beat', ({ lastChange }) => void (lastChange === 2 && resolve())),
      );
      await ask(hers, 'message:edit', { messageId: message.id, body: 'Read these' });
      await edited;
      expect(await seenBy(cleos)).toEqual(['open.txt']);

      const bytes = (who: Person, id: string) => who.api.get(`/api/content/files/${id}/content`);
      await eventually('the file', async () =>
        (await bytes(ben, ofCourse)).status === 200 ? true : undefined,
      );
      expect((await bytes(cleo, ofCourse)).status).toBe(404);
      expect((await bytes(cleo, open)).status).toBe(200);
    });

    test('presence and typing: over devices, throttled, hidden by who wants so', async () => {
      const roomId = await group(ada, [ben]);
      const hers = await joined(ada, roomId);
      const [phone, laptop] = [await joined(ben, roomId), await joined(ben, roomId)];
      const online = async (): Promise<string[]> => (await ask(hers, 'presence:list', { roomId })).online;
      await eventually('both', async () => ((await online()).includes(ben.id) ? true : undefined));
      let typed = 0;
      hers.on('typing', () => typed++);
      for (let n = 0; n < 10; n++) await ask(phone, 'typing', { roomId });
      await eventually('typing', async () => (typed > 0 ? true : undefined));
      expect(typed).toBe(1);
      phone.close();
      await Bun.sleep(2_500);
      expect(await online()).toContain(ben.id);
      laptop.close();
      await eventually('away', async () => ((await online()).includes(ben.id) ? undefined : true));

      await must(ben.api.patch('/api/profiles/me', { privacy: { showPresence: false } }), 'hide');
      const hidden = await joined(ben, roomId);
      await eventually('hidden', async () => ((await online()).includes(ben.id) ? undefined : true));
      await Bun.sleep(2_100);
      typed = 0;
      await ask(hidden, 'typing', { roomId });
      await ask(hers, 'presence:list', { roomId });
      expect([typed, (await online()).includes(ben.id)]).toEqual([0, false]);
      await must(ben.api.patch('/api/profiles/me', { privacy: { showPresence: true } }), 'show');
      await eventually('shown', async () => ((await online()).includes(ben.id) ? true : undefined));
    });

    test('receipts can be turned off', async () => {
      const roomId = await group(ada, [ben]);
      const [hers, his] = [await joined(ada, roomId), await joined(ben, roomId)];
      await say(hers, roomId, 'Read me');
      const read = next(hers, 'read');
      await ask(his, 'read', { roomId, seq: 1 });
      expect(await read).toMatchObject({ userId: ben.id, seq: 1 });
      await must(ada.api.patch(room(roomId), { receipts: false }), 'receipts');
      await say(hers, roomId, 'Unseen');
      let heard = 0;
      hers.on('read', ({ userId }) => void (userId === ben.id && heard++));
      await ask(his, 'read', { roomId, seq: 2 });
      await Bun.sleep(300);
      expect(heard).toBe(0);
      const { items } = await must(ada.api.get(room(roomId, '/members')), 'members');
      expect(items.map(({ readSeq }: { readSeq: unknown }) => readSeq)).toEqual([null, null]);
    });

    test('search: by words, room, author and time, only where one may read', async () => {
      const [ours, theirs] = [await group(ada, [ben]), await group(ada, [cleo])];
      const word = `zebra${Date.now()}`;
      const hers = await on(ada);
      await say(hers, ours, `A ${word} here`);
      await say(hers, theirs, `A ${word} there`);
      const found = async (who: Person, more = '') =>
        (await must(who.api.get(`/api/chat/search?q=${word}${more}`), 'search')).items.map(
          ({ roomId }: { roomId: string }) => roomId,
        );
      expect(await found(ada)).toEqual([theirs, ours]);
      expect(await found(ben)).toEqual([ours]);
      expect(await found(ada, `&roomId=${ours}`)).toEqual([ours]);
      expect(await found(ada, `&authorId=${ben.id}`)).toEqual([]);
      expect(await found(ada, '&to=2020-01-01T00:00:00.000Z')).toEqual([]);
      expect((await ben.api.get(`/api/chat/search?q=${word}&roomId=${theirs}`)).status).toBe(404);
    });

    test('moderation: report, filter and review, slow mode, lock, mute, kick, ban, audit', async () => {
      const roomId = await group(ada, [ben, cleo]);
      const [hers, his] = [await joined(ada, roomId), await joined(ben, roomId)];
      const attempt = async (body: string) => {
        const ack = await ask(his, 'message:send', { roomId, clientId: crypto.randomUUID(), body });
        return ack.ok ? 'ok' : ack.error.code;
      };
      const bad = await say(his, roomId, 'Insult');
      await must(cleo.api.post(`/api/chat/messages/${bad.id}/reports`, { reason: 'Insults' }), 'report');
      const reports = await must(ada.api.get(room(roomId, '/reports')), 'reports');
      const gone = next(hers, 'message:deleted');
      await must(
        ada.api.post(`/api/chat/reports/${reports.items[0].id}/decision`, { decision: 'delete' }),
        'decide',
      );
      expect(await gone).toMatchObject({ id: bad.id });

      await must(ada.api.post(room(roomId, '/filter-words'), { word: 'maybe', action: 'review' }), 'word');
      await eventually('the filter', async () =>
        (await attempt('may\u200bbe')) === 'held-for-review' ? true : undefined,
      );
      const held = (await must(ada.api.get(room(roomId, '/held')), 'held')).items[0];
      const released = next<{ body: string }>(his, 'message');
      await must(ada.api.post(`/api/chat/held/${held.id}/approve`), 'approve');
      expect((await released).body).toBe('may\u200bbe');

      await must(ada.api.patch(room(roomId), { slowModeSeconds: 60 }), 'slow');
      expect([await attempt('one'), await attempt('two')]).toContain('slow-mode');
      await must(ada.api.patch(room(roomId), { slowModeSeconds: 0, locked: true }), 'lock');
      expect(await attempt('locked')).toBe('room-locked');
      await must(ada.api.patch(room(roomId), { locked: false }), 'unlock');
      await must(ada.api.put(room(roomId, `/mutes/${ben.id}`), { expiresIn: 600 }), 'mute');
      expect(await attempt('muted')).toBe('muted');
      await must(ada.api.delete(room(roomId, `/mutes/${ben.id}`)), 'unmute');
      expect(await attempt('again')).toBe('ok');

      // Several sockets, so that each process has some.
      const others = await Promise.all(Array.from({ length: 6 }, () => joined(ben, roomId)));
      const left = Promise.all(
        [his, ...others].map((socket) => next<{ reason: string }>(socket, 'room:left')),
      );
      const started = Date.now();
      await must(ada.api.put(room(roomId, `/bans/${ben.id}`), { expiresIn: 3, reason: 'Enough' }), 'ban');
      for (const { reason } of await left) expect(reason).toBe('banned');
      expect(Date.now() - started).toBeLessThan(5_000);
      expect(await attempt('banned')).toBe('banned');
      await eventually('the end of the ban', async () =>
        (await attempt('back')) === 'ok' ? true : undefined,
      );

      const kicked = next(others[0]!, 'room:left');
      expect(await ask(others[0]!, 'room:join', { roomId })).toMatchObject({ ok: true });
      await must(ada.api.delete(room(roomId, `/members/${ben.id}`)), 'kick');
      expect(await kicked).toMatchObject({ reason: 'kicked' });
      const { items } = await must(ada.api.get(room(roomId, '/audit?limit=100')), 'audit');
      const actions = new Set(items.map(({ action }: { action: string }) => action));
      for (const action of [
        'report-upheld',
        'word-added',
        'held-approved',
        'room-changed',
        'muted',
        'unmuted',
        'banned',
        'kicked',
      ])
        expect([...actions]).toContain(action);
      expect((await admin.api.get('/api/chat/audit')).status).toBe(200);
    });

    test('a webhook writes, an export gives all of it, retention is set', async () => {
      const roomId = await group(ada, [ben]);
      const his = await joined(ben, roomId);
      const hook = await must(ada.api.post(room(roomId, '/webhooks'), { name: 'Build server' }), 'webhook');
      const live = next(his, 'message');
      const post = (secret: string) =>
        fetch(platform.url + hook.path, {
          method: 'POST',
          headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
          body: JSON.stringify({ text: 'Build 12 passed', clientId: 'build-12' }),
        });
      expect((await post('wrong')).status).toBe(401);
      expect((await post(hook.secret)).status).toBe(201);
      expect((await post(hook.secret)).status).toBe(200);
      expect(await live).toMatchObject({
        body: 'Build 12 passed',
        author: { displayName: 'Build server', bot: true },
      });
      await say(his, roomId, 'Good');
      const exported = await fetch(platform.url + room(roomId, '/export'), {
        headers: { authorization: `Bearer ${ada.token}` },
      });
      const lines = (await exported.text())
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(lines.map(({ type }) => type)).toEqual(['room', 'message', 'message', 'end']);
      expect((await ben.api.get(room(roomId, '/export'))).status).toBe(403);
      expect(
        (await must(ada.api.patch(room(roomId), { retentionDays: 30 }), 'retention')).retentionDays,
      ).toBe(30);
    });

    test('every route of it is in the OpenAPI document', async () => {
      const { paths } = await must(ada.api.get('/openapi.json'), 'openapi');
      for (const path of [
        '/rooms',
        '/rooms/{roomId}',
        '/rooms/{roomId}/messages',
        '/rooms/{roomId}/changes',
        '/rooms/{roomId}/members/{userId}',
        '/rooms/{roomId}/invitations',
        '/rooms/{roomId}/pins/{messageId}',
        '/rooms/{roomId}/export',
        '/rooms/{roomId}/webhooks',
        '/rooms/{roomId}/audit',
        '/rooms/{roomId}/bans/{userId}',
        '/rooms/{roomId}/mutes/{userId}',
        '/rooms/{roomId}/filter-words',
        '/rooms/{roomId}/reports',
        '/messages/{messageId}/history',
        '/messages/{messageId}/reports',
        '/search',
        '/webhooks/{webhookId}',
      ])
        expect(Object.keys(paths)).toContain(`/api/chat${path}`);
    });

    test('long polling is refused in words that say what to do', async () => {
      const { io } = await import('socket.io-client');
      const polling = io(platform.url, {
        transports: ['polling'],
        auth: { token: ada.token },
        reconnection: false,
      });
      const error = await new Promise<Error & { context?: { responseText?: string } }>((resolve) =>
        polling.once('connect_error', resolve),
      );
      polling.close();
      expect(error.message).toBe('xhr poll error');
      const reply = await fetch(`${platform.url}/socket.io/?EIO=4&transport=polling`);
      expect(reply.status).toBe(400);
      expect(((await reply.json()) as { detail: string }).detail).toContain('transports: ["websocket"]');
    });
  });
}
