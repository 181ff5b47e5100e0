import { type Kysely, type Selectable, sql } from 'kysely';
import type { ChatTables } from './tables.ts';

/**
 * One change of a course's membership at a time: an enrolment and the publication may be handled in the same
 * moment, and each must see the other. Held until the transaction ends.
 */
export async function lockCourse(db: Kysely<ChatTables>, courseId: string): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${courseId}, 0))`.execute(db);
}

/** Keeps the newest facts; that a course was published once stays true whatever the order of events. */
export async function keepCourse(
  db: Kysely<ChatTables>,
  course: {
    courseId: string;
    title: string;
    teacherId: string;
    status: string;
    published: boolean;
    at: Date;
  },
): Promise<Selectable<ChatTables['courses']>> {
  const facts = {
    title: course.title,
    teacher_id: course.teacherId,
    status: course.status,
    changed_at: course.at,
  };
  await db
    .insertInto('courses')
    .values({ course_id: course.courseId, published: course.published, ...facts })
    .onConflict((conflict) =>
      conflict.column('course_id').doUpdateSet(facts).where('courses.changed_at', '<=', course.at),
    )
    .execute();
  if (course.published) {
    await db
      .updateTable('courses')
      .set({ published: true })
      .where('course_id', '=', course.courseId)
      .execute();
  }
  return db
    .selectFrom('courses')
    .selectAll()
    .where('course_id', '=', course.courseId)
    .executeTakeFirstOrThrow();
}

/** Keeps the newest word on whether somebody is enrolled; returns what holds now. */
export async function keepEnrolment(
  db: Kysely<ChatTables>,
  enrolment: { courseId: string; userId: string; active: boolean; at: Date },
): Promise<boolean> {
  const facts = { active: enrolment.active, changed_at: enrolment.at };
  await db
    .insertInto('enrolments')
    .values({ course_id: enrolment.courseId, user_id: enrolment.userId, ...facts })
    .onConflict((conflict) =>
      conflict
        .columns(['course_id', 'user_id'])
        .doUpdateSet(facts)
        .where('enrolments.changed_at', '<=', enrolment.at),
    )
    .execute();
  const row = await db
    .selectFrom('enrolments')
    .select('active')
    .where('course_id', '=', enrolment.courseId)
    .where('user_id', '=', enrolment.userId)
    .executeTakeFirstOrThrow();
  return row.active;
}

export async function findCourseRoom(
  db: Kysely<ChatTables>,
  courseId: string,
): Promise<{ id: string; teacherId: string } | undefined> {
  return db
    .selectFrom('rooms as r')
    .innerJoin('courses as c', 'c.course_id', 'r.course_id')
    .where('r.course_id', '=', courseId)
    .select(['r.id', 'c.teacher_id as teacherId'])
    .executeTakeFirst();
}

export async function updateCourseRoom(
  db: Kysely<ChatTables>,
  courseId: string,
  change: { name: string; archived: boolean },
): Promise<string> {
  const row = await db
    .updateTable('rooms')
    .set(change)
    .where('course_id', '=', courseId)
    .returning('id')
    .executeTakeFirstOrThrow();
  return row.id;
}

/**
 * Makes the room's members the teacher and those enrolled, but for who is banned; a moderator stays one. Returns
 * who is out now.
 */
export async function syncCourseMembers(
  db: Kysely<ChatTables>,
  courseId: string,
  at: Date,
): Promise<string[]> {
  const wanted = sql`(
    select i.user_id, i.role from (
      select c.teacher_id as user_id, 'owner' as role from courses c where c.course_id = ${courseId}
      union all
      select e.user_id, 'member' from enrolments e join courses c on c.course_id = e.course_id
      where e.course_id = ${courseId} and e.active and e.user_id <> c.teacher_id) i
    where not exists (select 1 from sanctions s join rooms b on b.id = s.room_id
      where b.course_id = ${courseId} and s.user_id = i.user_id and s.kind = 'ban'))`;
  const { rows } = await sql<{ user_id: string }>`
    with gone as (
      delete from members m using rooms r
      where r.id = m.room_id and r.course_id = ${courseId}
        and not exists (select 1 from ${wanted} w where w.user_id = m.user_id)
      returning m.room_id, m.user_id)
    insert into departures (room_id, user_id, reason) select room_id, user_id, 'unenrolled' from gone
    on conflict (room_id, user_id) do update set reason = excluded.reason, at = excluded.at
    returning user_id`.execute(db);
  await sql`
    insert into members (room_id, user_id, role, read_seq, joined_at)
    select r.id, w.user_id, w.role, r.last_seq, ${at}::timestamptz
    from rooms r cross join ${wanted} w where r.course_id = ${courseId}
    on conflict (room_id, user_id) do update set role =
      case when excluded.role = 'member' and members.role = 'moderator' then 'moderator' else excluded.role end`.execute(
    db,
  );
  return rows.map((row) => row.user_id);
}

/** As what somebody is in the course now, if they are. */
export async function roleInCourse(
  db: Kysely<ChatTables>,
  courseId: string,
  userId: string,
): Promise<'owner' | 'member' | undefined> {
  const { rows } = await sql<{ role: 'owner' | 'member' }>`
    select 'owner' as role from courses where course_id = ${courseId} and teacher_id = ${userId}
    union all
    select 'member' from enrolments where course_id = ${courseId} and user_id = ${userId} and active`.execute(
    db,
  );
  return rows[0]?.role;
}
