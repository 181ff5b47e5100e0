import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { EventData, EventEnvelope, EventName } from '../../../shared/contracts/events.ts';
import { newId } from '../../../shared/ids.ts';
import { startTestService, type TestService, type TestUser } from '../../../shared/testing/service.ts';
import { createNotifications } from '../service.ts';
import type { NotificationsTables } from '../store/tables.ts';

let world: TestService<NotificationsTables>;
beforeAll(async () => {
  world = await startTestService(createNotifications);
}, 60_000);
afterAll(() => world.stop());

const api = '/api/notifications';
const list = async (as: TestUser, query = '') => (await world.call('GET', `${api}${query}`, { as })).body;
const prefer = (as: TestUser, body: object) => world.call('PUT', `${api}/preferences`, { as, body });
const emailOf = (user: TestUser) => `${user.userId}@school.example`;

/** Somebody with a verified address. */
async function person(name = 'Ada', role: 'learner' | 'teacher' = 'learner'): Promise<TestUser> {
  const user = await world.signIn({ name, role });
  await register(user);
  await verify(user);
  return user;
}
const register = (user: TestUser) =>
  world.emit('user.registered', {
    userId: user.userId,
    email: emailOf(user),
    displayName: user.caller.name,
    role: user.caller.role,
  });
const verify = (user: TestUser) => world.emit('user.verified', { userId: user.userId, email: emailOf(user) });

const mentionOf = (mentioned: TestUser[], more: Partial<EventData<'message.mentioned'>> = {}) => ({
  messageId: newId(),
  roomId: newId(),
  roomName: 'Algebra',
  courseId: null,
  seq: 7,
  authorId: newId(),
  authorName: 'Grace',
  mentioned: mentioned.map((user) => user.userId),
  excerpt: 'hello',
  ...more,
});
const file = (ownerId: string) => ({
  fileId: newId(),
  name: 'photo.jpg',
  size: 1,
  type: 'image/jpeg',
  sha256: 'x',
  visibility: 'private' as const,
  courseId: null,
  ownerId,
});

/** Waits for what happens in the background; gives up after 3 s. */
async function eventually<T>(look: () => T | Promise<T>, good: (value: T) => boolean): Promise<T> {
  for (const deadline = Date.now() + 3_000; ; ) {
    const value = await look();
    if (good(value) || Date.now() > deadline) return value;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
const mailsTo = (user: TestUser) => world.mails.filter((mail) => mail.to === emailOf(user));
const mailsArrive = (user: TestUser, count = 1) =>
  eventually(
    () => mailsTo(user),
    (mails) => mails.length >= count,
  );
/** Long enough for the mail job to have come round twice. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 800));
const eventsAbout = async (name: EventName, user: TestUser): Promise<EventEnvelope[]> =>
  (await world.published(name)).filter((event) => (event.data as { userId?: string }).userId === user.userId);

test('a mention stands in the list, goes out live and comes by mail', async () => {
  const ada = await person('Ada');
  const data = mentionOf([ada], { excerpt: `<@${ada.userId}> and <@${newId()}>: <b>look</b>` });
  await world.emit('message.mentioned', data);

  const { items, unreadCount, nextCursor } = await list(ada);
  expect(items).toHaveLength(1);
  expect(items[0]).toMatchObject({
    kind: 'mention',
    title: 'Grace mentioned you in Algebra',
    body: '@Ada and @someone: <b>look</b>',
    link: `/#/rooms/${data.roomId}?at=7`,
    readAt: null,
  });
  expect([unreadCount, nextCursor]).toEqual([1, null]);
  const [created] = await eventsAbout('notification.created', ada);
  expect(created!.data).toMatchObject({ notificationId: items[0].id, kind: 'mention', live: true });

  const [mail] = await mailsArrive(ada);
  expect(mail).toMatchObject({ subject: 'Grace mentioned you in Algebra', idempotencyKey: items[0].id });
  expect(mail!.text).toContain(`http://localhost:8080/#/rooms/${data.roomId}?at=7`);
  expect(mail!.text).toContain('Switch it off: http://localhost:8080/#/settings/notifications');
  expect(mail!.html).toContain('&lt;b&gt;look&lt;/b&gt;');
  const [sent] = await eventually(
    () => eventsAbout('notification.sent', ada),
    (events) => events.length > 0,
  );
  expect(sent!.data).toEqual({ userId: ada.userId, notificationId: items[0].id, channel: 'email' });
});

test('an invitation stands in the list; by mail it comes to those who want that', async () => {
  const [ada, bob] = [await person('Ada'), await person('Bob')];
  await prefer(bob, { invitation: { inApp: true, email: true, push: false } });
  for (const { userId } of [ada, bob]) {
    await world.emit('room.invited', {
      userId,
      invitationId: newId(),
      roomId: newId(),
      roomName: 'Study group',
      invitedBy: newId(),
      invitedByName: 'Grace',
    });
  }
  expect((await list(ada)).items[0]).toMatchObject({
    kind: 'invitation',
    title: 'Grace invited you into Study group',
    link: '/#/invitations',
  });
  expect(await mailsArrive(bob)).toHaveLength(1);
  expect(mailsTo(ada)).toEqual([]);
});

test('a name can not smuggle a header or markup into a mail', async () => {
  const ada = await person();
  await world.emit('message.mentioned', mentionOf([ada], { authorName: 'Eve\r\nBcc: x@y.z <script>' }));
  const [mail] = await mailsArrive(ada);
  expect(mail!.subject).toBe('Eve Bcc: x@y.z <script> mentioned you in Algebra');
  expect(mail!.html).not.toContain('<script>');
});

test('an event delivered twice has one effect', async () => {
  const ada = await person();
  const id = newId();
  const data = mentionOf([ada, ada]);
  await world.emit('message.mentioned', data, { id });
  await world.emit('message.mentioned', data, { id });
  await mailsArrive(ada);
  await quiet();
  expect((await list(ada)).items).toHaveLength(1);
  expect(mailsTo(ada)).toHaveLength(1);
  expect(await eventsAbout('notification.created', ada)).toHaveLength(1);
});

test('nobody is told of what they did themselves', async () => {
  const ada = await person('Ada', 'teacher');
  await world.emit('message.mentioned', mentionOf([ada], { authorId: ada.userId }));
  await world.emit('enrolment.created', {
    courseId: newId(),
    userId: ada.userId,
    displayName: 'Ada',
    courseTitle: 'Own',
    teacherId: ada.userId,
  });
  expect((await list(ada)).items).toEqual([]);
});

test('each kind finds its receiver', async () => {
  const [learner, teacher] = [await person('Lea'), await person('Tom', 'teacher')];
  const courseId = newId();
  await world.emit('enrolment.created', {
    courseId,
    userId: learner.userId,
    displayName: 'Lea',
    courseTitle: 'Algebra',
    teacherId: teacher.userId,
  });
  await world.emit('course.completed', { courseId, userId: learner.userId, courseTitle: 'Algebra' });
  await world.emit('file.processed', file(teacher.userId));
  await world.emit('file.rejected', { ...file(teacher.userId), reason: 'The picture is broken.' });

  const titles = async (user: TestUser) =>
    (await list(user)).items.map((item: { kind: string; title: string }) => `${item.kind}: ${item.title}`);
  expect(await titles(learner)).toEqual(['course-completed: Congratulations! You completed Algebra']);
  expect(await titles(teacher)).toEqual([
    'file-rejected: photo.jpg could not be taken',
    'file-processed: photo.jpg is ready',
    'enrolment: Lea enrolled in Algebra',
  ]);
  expect((await list(teacher)).items[0].body).toContain('The picture is broken.');
  expect((await mailsArrive(learner)).map((mail) => mail.subject)).toEqual([
    'Congratulations! You completed Algebra',
  ]);
  expect((await mailsArrive(teacher)).map((mail) => mail.subject)).toEqual(['photo.jpg could not be taken']);
});

test('preferences decide the channels', async () => {
  const channels = (inApp: boolean, email: boolean) => ({ mention: { inApp, email, push: false } });
  const [none, listOnly, mailOnly] = [await person(), await person(), await person()];
  await prefer(none, channels(false, false));
  await prefer(listOnly, channels(true, false));
  await prefer(mailOnly, channels(false, true));
  await world.emit('message.mentioned', mentionOf([none, listOnly, mailOnly]));
  await mailsArrive(mailOnly);
  await quiet();

  const seen = async (user: TestUser) => ({
    list: (await list(user)).items.length,
    unread: (await list(user)).unreadCount,
    mails: mailsTo(user).length,
    live: (await eventsAbout('notification.created', user)).map(
      (event) => (event.data as { live: boolean }).live,
    ),
  });
  expect(await seen(none)).toEqual({ list: 0, unread: 0, mails: 0, live: [] });
  expect(await seen(listOnly)).toEqual({ list: 1, unread: 1, mails: 0, live: [true] });
  expect(await seen(mailOnly)).toEqual({ list: 0, unread: 0, mails: 1, live: [false] });
  expect((await eventsAbout('notification.sent', mailOnly)).length).toBe(1);
});

test('a mail waits for the address of somebody not known yet, and nothing is dead', async () => {
  const ada = await world.signIn({ name: 'Ada' });
  await world.emit('message.mentioned', mentionOf([ada]));
  expect((await list(ada)).items).toHaveLength(1);
  await register(ada);
  await quiet();
  expect(mailsTo(ada)).toEqual([]); // an address that is not verified gets no mail
  await verify(ada);
  expect(await mailsArrive(ada)).toHaveLength(1);
  expect(await world.db.selectFrom('dead_letters').selectAll().execute()).toEqual([]);
});

test('the verification may come before the registration', async () => {
  const ada = await world.signIn({ name: 'Ada' });
  await verify(ada);
  await register(ada);
  await world.emit('message.mentioned', mentionOf([ada]));
  expect(await mailsArrive(ada)).toHaveLength(1);
});

test('a disabled account gets no mail, an enabled one does again', async () => {
  const ada = await person();
  const at = (minute: number) => ({ at: new Date(Date.now() + minute * 60_000).toISOString() });
  await world.emit('user.disabled', { userId: ada.userId, disabled: true }, at(2));
  await world.emit('user.disabled', { userId: ada.userId, disabled: false }, at(1)); // arrives late
  await world.emit('message.mentioned', mentionOf([ada]));
  await quiet();
  expect(mailsTo(ada)).toEqual([]);
  await world.emit('user.disabled', { userId: ada.userId, disabled: false }, at(3));
  await world.emit('message.mentioned', mentionOf([ada]));
  expect(await mailsArrive(ada)).toHaveLength(1);
  expect((await list(ada)).items).toHaveLength(2);
});

test('a deleted account leaves nothing, and gets nothing more', async () => {
  const ada = await person();
  await prefer(ada, { enrolment: { inApp: false, email: false, push: true } });
  await world.emit('message.mentioned', mentionOf([ada]));
  await world.emit('user.deleted', { userId: ada.userId });
  await register(ada);
  await world.emit('message.mentioned', mentionOf([ada]));
  expect((await list(ada)).items).toEqual([]);
  const row = await world.db
    .selectFrom('people')
    .selectAll()
    .where('user_id', '=', ada.userId)
    .executeTakeFirst();
  expect(row).toMatchObject({ email: null, display_name: null, deleted: true });
});

test('a newer name is not undone by an older one', async () => {
  const ada = await person('Ada');
  const bob = await person('Bob');
  const rename = (displayName: string, at: string) =>
    world.emit('profile.updated', { userId: bob.userId, displayName, avatar: null, locale: 'en' }, { at });
  await rename('Robert', '2030-01-02T00:00:00.000Z');
  await rename('Bobby', '2030-01-01T00:00:00.000Z');
  await world.emit('message.mentioned', mentionOf([ada], { excerpt: `ask <@${bob.userId}>` }));
  expect((await list(ada)).items[0].body).toBe('ask @Robert');
});

test('a mail server that is away delays a mail and loses none', async () => {
  const ada = await person();
  const { mailer } = world.deps;
  const send = mailer.send;
  let failures = 0;
  mailer.send = async () => {
    failures++;
    throw new Error('connection refused');
  };
  await world.emit('message.mentioned', mentionOf([ada]));
  await eventually(
    () => failures,
    (count) => count > 0,
  );
  mailer.send = send;
  expect(await mailsArrive(ada)).toHaveLength(1);
});
