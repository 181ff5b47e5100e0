import type { Generated } from 'kysely';
import type { Role } from '../../../shared/contracts/common.ts';
import type { KernelTables } from '../../../shared/db/kernel.ts';

export type EventSource = 'client' | 'domain';

export interface AnalyticsTables extends KernelTables {
  /** Every event, once: what a client sent, and what the platform's services published. */
  events: {
    source: EventSource;
    /** Client events: unique for the user. Domain events: unique. */
    id: string;
    /** Null: no person did it. */
    user_id: string | null;
    name: string;
    at: Date;
    course_id: string | null;
    lesson_id: string | null;
    data: unknown;
    received_at: Generated<Date>;
  };
  /** Rollup: what one person did in one hour (UTC). */
  user_activity: {
    user_id: string;
    hour: Date;
    events: number;
    messages: number;
    last_at: Date;
  };
  /** Rollup: what one person did in one hour about one course; reports count members' rows only. */
  course_activity: {
    course_id: string;
    user_id: string;
    hour: Date;
    events: number;
    messages: number;
    last_at: Date;
  };
  /** Rollup: all events of an hour, spread over shards so that writers don't wait for each other. */
  event_totals: { hour: Date; source: EventSource; shard: number; events: number };
  people: {
    user_id: string;
    display_name: string;
    named_at: Date;
    role: Role | null;
    role_at: Date;
    registered_at: Date | null;
    deleted_at: Date | null;
  };
  courses: {
    course_id: string;
    title: string;
    status: 'draft' | 'published' | 'archived';
    teacher_id: string;
    /** Time of the newest event these facts are from. */
    changed_at: Date;
    /** Lessons, as the newest completion said. */
    lessons: number | null;
    lessons_at: Date;
  };
  enrolments: {
    course_id: string;
    user_id: string;
    /** Null while only its end or some progress is known of. */
    enrolled_at: Date | null;
    ended_at: Date | null;
    changed_at: Date;
    completed: Generated<number>;
    total: number | null;
    percent: Generated<number>;
    progress_at: Date;
    completed_at: Date | null;
  };
  files: {
    file_id: string;
    course_id: string | null;
    size: number;
    rejected: Generated<boolean>;
    deleted: Generated<boolean>;
  };
}
