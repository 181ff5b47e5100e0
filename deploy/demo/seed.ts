import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DemoAccount } from './accounts.ts';
import { Api, eventually, must } from './api.ts';
import { simplePdf } from './pdf.ts';
import { nightSky } from './pictures.ts';
import { COURSES, type DemoCourse, type DemoLesson, HANDOUT, TALK } from './school.ts';

interface Person {
  id: string;
  api: Api;
}

/**
 * Fills a new installation with a small school, through the public API only. Every step is idempotent, so a start
 * that was killed in the middle goes on where it stopped. `mailUrl` is the mail catcher's HTTP side.
 */
export async function seedDemo(options: {
  url: string;
  dataDir: string;
  accounts: DemoAccount[];
  mailUrl: string;
}): Promise<void> {
  const marker = join(options.dataDir, 'demo-seeded');
  if (
    await access(marker).then(
      () => true,
      () => false,
    )
  )
    return;

  const api = new Api(options.url);
  const account = (role: DemoAccount['role']) =>
    options.accounts.find((candidate) => candidate.role === role)!;
  const signUpAs = (email: string, password: string, name: string) =>
    signUp(api, options.mailUrl, { email, password, name });

  const admin = await signIn(api, account('admin'));
  if (!admin) throw new Error('the demo administrator can not sign in');
  await signUpAs(account('teacher').email, account('teacher').password, 'Ada Moreau');
  const teacherId = (
    await must(admin.api.get(`/api/auth/users?q=${account('teacher').email}`), 'find the teacher')
  ).items[0].id;
  await must(admin.api.patch(`/api/auth/users/${teacherId}`, { role: 'teacher' }), 'make a teacher');

  const people = {
    // Signed in again: the first token still says learner.
    teacher: (await signIn(api, account('teacher')))!,
    learner: await signUpAs(account('learner').email, account('learner').password, 'Noor Haddad'),
    mira: await signUpAs('mira@lyceum.example', account('learner').password, 'Mira Lindqvist'),
    jonas: await signUpAs('jonas@lyceum.example', account('learner').password, 'Jonas Weber'),
  };
  const courseIds: string[] = [];
  for (const course of COURSES) courseIds.push(await makeCourse(people.teacher, course));
  for (const person of [people.learner, people.mira, people.jonas]) {
    await must(person.api.post(`/api/content/courses/${courseIds[0]}/enrolments`), 'enrol');
  }
  await must(people.learner.api.post(`/api/content/courses/${courseIds[1]}/enrolments`), 'enrol');
  await talk(people, courseIds[0]!);
  await writeFile(marker, `${new Date().toISOString()}\n`);
}

async function signIn(
  api: Api,
  { email, password }: { email: string; password: string },
): Promise<Person | undefined> {
  const reply = await api.post('/api/auth/login', { email, password });
  if (reply.status !== 200) return undefined;
  return { id: reply.body.user.id, api: api.as(reply.body.accessToken) };
}

/** Registers, reads the verification mail, verifies, signs in; skips what an earlier try has done. */
async function signUp(
  api: Api,
  mailUrl: string,
  who: { email: string; password: string; name: string },
): Promise<Person> {
  const before = await signIn(api, who);
  if (before) return before;
  const body = { email: who.email, password: who.password, displayName: who.name };
  const registered = await api.post('/api/auth/register', body, `demo-${who.email}`);
  if (registered.status !== 201 && registered.body?.code !== 'email-taken') {
    throw new Error(`register ${who.email}: ${registered.status} ${registered.body?.code}`);
  }
  const token = await eventually(`the mail to ${who.email}`, async () => {
    const { items } = (await new Api(mailUrl).get(`/dev/mail.json?to=${encodeURIComponent(who.email)}`)).body;
    return (items[0]?.text as string | undefined)?.match(/token: (\S+)/)?.[1];
  });
  await must(api.post('/api/auth/email/verify', { token }), `verify ${who.email}`);
  return (await signIn(api, who))!;
}

async function makeCourse(teacher: Person, course: DemoCourse): Promise<string> {
  const { id } = await must(
    teacher.api.post(
      '/api/content/courses',
      { title: course.title, summary: course.summary, language: 'en' },
      `demo-${course.key}`,
    ),
    course.title,
  );
  for (const [index, lesson] of course.lessons.entries()) {
    await makeLesson(teacher, id, lesson, `demo-${course.key}-${index}`);
  }
  await must(teacher.api.post(`/api/content/courses/${id}/publish`), 'publish');
  return id;
}

async function makeLesson(teacher: Person, courseId: string, lesson: DemoLesson, key: string): Promise<void> {
  const fileIds: string[] = [];
  if (lesson.file) {
    const [name, type, bytes] =
      lesson.file === 'picture'
        ? ['night-sky.png', 'image/png', nightSky()]
        : ['finding-north.pdf', 'application/pdf', simplePdf(HANDOUT.title, HANDOUT.lines)];
    const path = `/api/content/files?name=${name}&courseId=${courseId}&visibility=course`;
    fileIds.push(
      (
        await must(
          teacher.api.upload(path, bytes as Uint8Array, type as string, `${key}-file`),
          `upload ${name}`,
        )
      ).id,
    );
  }
  const body = {
    title: lesson.title,
    kind: lesson.kind,
    module: lesson.module,
    ...(lesson.body ? { body: lesson.body } : {}),
    ...(fileIds.length > 0 ? { fileIds } : {}),
  };
  await must(teacher.api.post(`/api/content/courses/${courseId}/lessons`, body, key), lesson.title);
}

async function talk(people: Record<(typeof TALK)[number]['who'], Person>, courseId: string): Promise<void> {
  const roomOf = (person: Person) =>
    eventually('the course room', async () => {
      const { items } = await must(person.api.get('/api/chat/rooms?limit=100'), 'rooms');
      return items.find((room: { courseId: string | null }) => room.courseId === courseId)?.id as
        | string
        | undefined;
    });
  for (const [index, { who, says }] of TALK.entries()) {
    const roomId = await roomOf(people[who]);
    const body = says.replace('@teacher', `<@${people.teacher.id}>`);
    await must(
      people[who].api.post(`/api/chat/rooms/${roomId}/messages`, { clientId: `demo-talk-${index}`, body }),
      'say',
    );
  }
}
