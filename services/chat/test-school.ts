import { io, type Socket } from 'socket.io-client';
import type {
  Ack,
  ClientEvent,
  ClientToServer,
  NotificationsToClient,
  ServerToClient,
} from '../../shared/contracts/chat.ts';
import { newId } from '../../shared/ids.ts';
import { startTestService, type TestService, type TestUser } from '../../shared/testing/service.ts';
import { createChat } from './service.ts';
import type { ChatTables } from './store/tables.ts';

/** What chat's tests share: a service, courses with a teacher and learners, and unmodified Socket.IO clients. */

export type World = TestService<ChatTables>;
export type Client = Socket<ServerToClient & NotificationsToClient, ClientToServer>;

export const startChat = (limitScale = 1): Promise<World> =>
  startTestService<ChatTables>((deps) => createChat({ ...deps, settings: { ...deps.settings, limitScale } }));

/** A signed-in person whom chat knows. */
export async function person(
  world: World,
  name: string,
  role: 'learner' | 'teacher' | 'admin' = 'learner',
): Promise<TestUser> {
  const user = await world.signIn({ name, role });
  await world.emit('user.registered', {
    userId: user.userId,
    email: `${user.userId}@example.org`,
    displayName: name,
    role,
  });
  return user;
}

export interface School {
  courseId: string;
  roomId: string;
  teacher: TestUser;
  learner: TestUser;
}

export const courseFacts = (courseId: string, teacher: TestUser, title = 'Algebra') => ({
  courseId,
  title,
  slug: 'algebra',
  status: 'published' as const,
  teacherId: teacher.userId,
  teacherName: 'Ada',
});

export const enrolmentFacts = (courseId: string, teacher: TestUser, learner: TestUser) => ({
  courseId,
  userId: learner.userId,
  displayName: 'Ben',
  courseTitle: 'Algebra',
  teacherId: teacher.userId,
});

/** A published course with its teacher and one learner in its room. */
export async function openSchool(world: World): Promise<School> {
  const teacher = await person(world, 'Ada', 'teacher');
  const learner = await person(world, 'Ben');
  const courseId = newId();
  await world.emit('course.published', courseFacts(courseId, teacher));
  await world.emit('enrolment.created', enrolmentFacts(courseId, teacher, learner));
  const rooms = await world.call('GET', `/api/chat/rooms?courseId=${courseId}`, { as: learner });
  return { courseId, roomId: rooms.body.items[0].id, teacher, learner };
}

/** A group of the owner's with these members in it. */
export async function openGroup(
  world: World,
  owner: TestUser,
  members: TestUser[],
  name = 'Study group',
): Promise<string> {
  const memberIds = members.map(({ userId }) => userId);
  const { body } = await world.call('POST', '/api/chat/rooms', {
    as: owner,
    body: { kind: 'group', name, memberIds },
  });
  return body.id;
}

const open = new Set<Client>();

/** Connects; rejects with the connect_error. */
export async function connect(url: string, token: string | undefined, namespace = ''): Promise<Client> {
  const client: Client = io(url + namespace, {
    transports: ['websocket'],
    auth: token === undefined ? {} : { token },
    reconnection: false,
    forceNew: true,
  });
  open.add(client);
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve());
    client.once('connect_error', reject);
  });
  return client;
}

export function disconnectAll(): void {
  for (const client of open) client.disconnect();
  open.clear();
}

/** Sends an event and waits for its acknowledgement. */
export async function ask<E extends ClientEvent>(client: Client, event: E, input: unknown): Promise<Ack<E>> {
  // Tests send what the types forbid.
  const loose = client as unknown as Socket;
  return loose.timeout(100_000).emitWithAck(event, input);
}

/** The same, for what must go well. */
export async function must<E extends ClientEvent>(
  client: Client,
  event: E,
  input: unknown,
): Promise<Extract<Ack<E>, { ok: true }>> {
  const ack = await ask(client, event, input);
  if (!ack.ok) throw new Error(`${event}: ${ack.error.code} ${ack.error.detail}`);
  return ack as Extract<Ack<E>, { ok: true }>;
}

/** The next event of this name. */
export const next = <T>(client: Client, event: string, ms = 5_000): Promise<T> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${ms} ms`)), ms);
    client.once(
      event as never,
      ((value: T) => {
        clearTimeout(timer);
        resolve(value);
      }) as never,
    );
  });

export async function until(condition: () => boolean | Promise<boolean>, ms = 5_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error('it did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
