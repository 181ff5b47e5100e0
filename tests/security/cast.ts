import { nightSky } from '../../deploy/demo/pictures.ts';
import { ACTORS, type Actor } from '../../shared/auth/access.ts';
import { eventually, must, newPerson, type Person, signIn } from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';

/** The five actors of the access matrix that are signed in; `anonymous` and `expired` have no person who could act. */
export type Player = Exclude<Actor, 'anonymous' | 'expired'>;
export const PLAYERS = ACTORS.filter(
  (actor): actor is Player => actor !== 'anonymous' && actor !== 'expired',
);

const ROLES = {
  learnerNotEnrolled: 'learner',
  learnerEnrolled: 'learner',
  otherTeacher: 'teacher',
  courseTeacher: 'teacher',
  administrator: 'admin',
} as const;

export interface Cast {
  platform: TestPlatform;
  players: Record<Player, Person>;
  /** Really signed by auth, and really expired. */
  expiredToken: string;
}

/** One published course with everything in it that a route may name. */
export interface Scene {
  courseId: string;
  lessonId: string;
  fileId: string;
  roomId: string;
  messageId: string;
}

/**
 * Starts a platform and signs everybody up. A token that has expired takes a platform whose tokens live for a
 * second, so the platform starts twice on the same data, and so with the same signing keys. `betweenStarts` runs while
 * nobody has the data open.
 */
export async function assembleCast(
  betweenStarts: (platform: TestPlatform) => Promise<void> = async () => {},
): Promise<Cast> {
  const admin = { email: 'head@school.example', password: 'a phrase for the head', role: 'admin' as const };
  const env: Record<string, string> = {
    LYCEUM_DEMO: 'off',
    LYCEUM_ADMIN_EMAIL: admin.email,
    LYCEUM_ADMIN_PASSWORD: admin.password,
    LYCEUM_ACCESS_TOKEN_SECONDS: '1',
  };
  const platform = await startEmbedded({ env });
  platform.accounts.push(admin);
  const { token: expiredToken } = await newPerson(platform, 'Long Gone');
  await platform.stop();
  await betweenStarts(platform);
  env.LYCEUM_ACCESS_TOKEN_SECONDS = '600';
  await platform.restart();

  const players = {} as Record<Player, Person>;
  for (const player of PLAYERS) players[player] = await understudy(platform, player);
  return { platform, players, expiredToken };
}

/** Somebody else in the same role, for what would take the player's own session or password away. */
export const understudy = (platform: TestPlatform, player: Player): Promise<Person> =>
  newPerson(
    platform,
    `The ${player.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`,
    ROLES[player],
  );

/** The same person in a new session. */
export const signInAgain = (platform: TestPlatform, person: Person): Promise<Person> =>
  signIn(platform, person.email, person.password);

/** A new course; resolves when every service has heard of all of it. */
export async function setScene({ players }: Cast): Promise<Scene> {
  const { courseTeacher: teacher, learnerEnrolled: learner } = players;
  const course = await must(teacher.api.post('/api/content/courses', { title: 'Rivers' }), 'course');
  const courseId = course.id as string;
  const file = await must(
    teacher.api.upload(
      `/api/content/files?name=river.png&courseId=${courseId}&visibility=course`,
      nightSky(32, 32),
      'image/png',
      crypto.randomUUID(),
    ),
    'file',
  );
  const lesson = await must(
    teacher.api.post(`/api/content/courses/${courseId}/lessons`, {
      title: 'Sources',
      kind: 'text',
      body: '# Sources',
    }),
    'lesson',
  );
  await must(teacher.api.post(`/api/content/courses/${courseId}/publish`), 'publish');
  await must(learner.api.post(`/api/content/courses/${courseId}/enrolments`), 'enrol');
  const roomOf = async (person: Person): Promise<string | undefined> =>
    (await must(person.api.get(`/api/chat/rooms?courseId=${courseId}`), 'rooms')).items[0]?.id;
  const roomId = await eventually('the room', () => roomOf(learner));
  await eventually("the teacher's membership", () => roomOf(teacher));
  await eventually('the file', async () => {
    const { status } = await must(teacher.api.get(`/api/content/files/${file.id}`), 'file');
    return status === 'processing' ? undefined : status;
  });
  await eventually('the report', async () => {
    const { status, body } = await teacher.api.get(`/api/analytics/reports/courses/${courseId}/overview`);
    return status === 200 && body.enrolled === 1 ? true : undefined;
  });
  const messageId = await writeMessage(learner, roomId);
  return { courseId, lessonId: lesson.id, fileId: file.id, roomId, messageId };
}

export async function writeMessage(author: Person, roomId: string): Promise<string> {
  const message = { clientId: crypto.randomUUID(), body: 'Good morning' };
  return (await must(author.api.post(`/api/chat/rooms/${roomId}/messages`, message), 'message')).id;
}

/**
 * What few routes name, made when one does: the id of an invitation for `learnerEnrolled`, of a report, held message,
 * webhook or filtered word of the scene's room, or where `platform` of the platform's word.
 */
export const SPARE_PARTS: Record<string, (cast: Cast, scene: Scene, platform: boolean) => Promise<string>> = {
  async invitationId({ players: { courseTeacher: teacher, learnerEnrolled: learner } }) {
    const group = { kind: 'group', name: 'Study group', memberIds: [] };
    const { id } = await must(teacher.api.post('/api/chat/rooms', group), 'group');
    const invitations = teacher.api.post(`/api/chat/rooms/${id}/invitations`, { userIds: [learner.id] });
    return (await must(invitations, 'invitation')).items[0].id;
  },
  async reportId({ players: { courseTeacher: teacher } }, { messageId }) {
    const report = teacher.api.post(`/api/chat/messages/${messageId}/reports`, { reason: 'To see' });
    return (await must(report, 'report')).id;
  },
  async heldId({ players: { courseTeacher: teacher, learnerEnrolled: learner } }, { roomId }) {
    await must(
      teacher.api.post(`/api/chat/rooms/${roomId}/filter-words`, { word: 'dubious', action: 'review' }),
      'word',
    );
    // Other processes know the word within half a second.
    return eventually('a held message', async () => {
      const message = { clientId: crypto.randomUUID(), body: 'Something dubious' };
      await must(learner.api.post(`/api/chat/rooms/${roomId}/messages`, message), 'message');
      const { items } = await must(teacher.api.get(`/api/chat/rooms/${roomId}/held`), 'held');
      return items[0]?.id as string | undefined;
    });
  },
  async webhookId({ players: { courseTeacher: teacher } }, { roomId }) {
    return (await must(teacher.api.post(`/api/chat/rooms/${roomId}/webhooks`, { name: 'Bot' }), 'webhook'))
      .id;
  },
  async wordId({ players: { courseTeacher, administrator } }, { roomId }, platform) {
    const word = { word: 'zzyzx', action: 'refuse' };
    return platform
      ? (await must(administrator.api.post('/api/chat/filter-words', word), 'word')).id
      : (await must(courseTeacher.api.post(`/api/chat/rooms/${roomId}/filter-words`, word), 'word')).id;
  },
};

/** The claims of an administrator's access token that is good for ten minutes: what a forger would write. */
export function claimsOf(administratorId: string): Record<string, string | number> {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: 'lyceum',
    aud: 'lyceum',
    sub: administratorId,
    sid: crypto.randomUUID(),
    role: 'admin',
    name: 'Mallory',
    iat: now,
    exp: now + 600,
  };
}
