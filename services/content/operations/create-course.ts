import { randomBytes } from 'node:crypto';
import type { Course } from '../../../shared/contracts/content.ts';
import type { Context } from '../../../shared/http/context.ts';
import { newId } from '../../../shared/ids.ts';
import { findCourse, insertCourse } from '../store/courses.ts';
import { nameOf } from '../store/people.ts';
import type { ContentTables } from '../store/tables.ts';
import { courseFacts, toCourse } from './representations.ts';

/** Makes a draft with the caller as its teacher. The slug stays when the title changes, so that addresses keep. */
export async function createCourse(
  context: Context<ContentTables>,
  input: { title: string; summary?: string | undefined; language?: string | undefined },
): Promise<Course> {
  const { caller } = context;
  return await context.transaction(async (tx) => {
    const id = newId();
    const facts = {
      id,
      title: input.title,
      summary: input.summary ?? '',
      language: input.language ?? 'en',
      teacher_id: caller.userId,
      teacher_name: (await nameOf(tx.db, caller.userId)) ?? caller.name,
    };
    const slug = slugOf(input.title);
    for (let next = slug; !(await insertCourse(tx.db, { ...facts, slug: next })); ) {
      next = `${slug}-${randomBytes(3).toString('hex')}`;
    }
    const course = (await findCourse(tx.db, id))!;
    await tx.publish('course.created', id, courseFacts(course));
    return toCourse(course);
  });
}

/** `Knots & Splices für Anfänger` → `knots-splices-fur-anfanger`; letters of any script stay. */
export function slugOf(title: string): string {
  const slug = title
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, '-');
  return (
    [...slug]
      .slice(0, 60)
      .join('')
      .replace(/^-+|-+$/g, '') || 'course'
  );
}
