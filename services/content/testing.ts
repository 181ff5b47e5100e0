import { setDefaultTimeout } from 'bun:test';
import type { Kysely } from 'kysely';
import {
  startTestService,
  type TestReply,
  type TestService,
  type TestUser,
} from '../../shared/testing/service.ts';
import { createContent } from './service.ts';
import type { ContentTables } from './store/tables.ts';

// Starting a database takes long on a machine that is busy with other tests.
setDefaultTimeout(90_000);

/** What the tests of this service do again and again. */

export interface ContentWorld extends TestService<ContentTables> {
  db: Kysely<ContentTables>;
  /** A published course of `teacher` with `lessons` text lessons. */
  course(
    teacher: TestUser,
    options?: { lessons?: number; publish?: boolean },
  ): Promise<{ id: string; lessonIds: string[] }>;
  enrol(learner: TestUser, courseId: string): Promise<void>;
  upload(
    as: TestUser,
    query: string,
    body: Uint8Array | string,
    headers?: Record<string, string>,
  ): Promise<TestReply>;
  /** Waits until processing has settled the file. */
  settled(as: TestUser, fileId: string): Promise<TestReply['body']>;
}

export async function startContent(): Promise<ContentWorld> {
  const world = await startTestService(createContent);
  const must = (reply: TestReply): TestReply['body'] => {
    if (reply.status >= 300) throw new Error(`${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  };
  return {
    ...world,
    async course(teacher, { lessons = 0, publish = true } = {}) {
      const { id } = must(
        await world.call('POST', '/api/content/courses', { as: teacher, body: { title: 'Knots' } }),
      );
      const lessonIds: string[] = [];
      for (let n = 1; n <= lessons; n++) {
        const body = { title: `Lesson ${n}`, kind: 'text', body: `# ${n}` };
        const path = `/api/content/courses/${id}/lessons`;
        lessonIds.push(must(await world.call('POST', path, { as: teacher, body })).id);
      }
      if (publish) must(await world.call('POST', `/api/content/courses/${id}/publish`, { as: teacher }));
      return { id, lessonIds };
    },
    async enrol(learner, courseId) {
      must(await world.call('POST', `/api/content/courses/${courseId}/enrolments`, { as: learner }));
    },
    upload: (as, query, body, headers = {}) =>
      world.call('POST', `/api/content/files?${query}`, { as, body, headers }),
    async settled(as, fileId) {
      for (const deadline = Date.now() + 45_000; ; ) {
        const file = must(await world.call('GET', `/api/content/files/${fileId}`, { as }));
        if (file.status !== 'processing') return file;
        if (Date.now() > deadline) throw new Error('the file was not processed in time');
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    },
  };
}
