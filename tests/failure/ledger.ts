import { type Api, eventually, must, type Person } from '../support/people.ts';
import type { TestPlatform } from '../support/platform.ts';

/** What a school has at the start of a failure test: a course with a room, its teacher and a learner. */
export interface Classroom {
  platform: TestPlatform;
  teacher: Person;
  learner: Person;
  courseId: string;
  roomId: string;
}

export async function openClassroom(
  platform: TestPlatform,
  teacher: Person,
  learner: Person,
): Promise<Classroom> {
  const course = await must(teacher.api.post('/api/content/courses', { title: 'Under load' }), 'course');
  await must(
    teacher.api.post(`/api/content/courses/${course.id}/lessons`, { title: 'One', kind: 'text', body: 'x' }),
    'lesson',
  );
  await must(teacher.api.post(`/api/content/courses/${course.id}/publish`), 'publish');
  await must(learner.api.post(`/api/content/courses/${course.id}/enrolments`), 'enrol');
  const roomId = await eventually('the room', async () => {
    const { items } = await must(learner.api.get('/api/chat/rooms'), 'rooms');
    return items.find((room: { courseId: string | null }) => room.courseId === course.id)?.id as
      | string
      | undefined;
  });
  return { platform, teacher, learner, courseId: course.id, roomId };
}

export interface Ledger {
  /** clientId → id and seq, as acknowledged. */
  messages: Map<string, { id: string; seq: number }>;
  /** Ids of analytics events whose batch was acknowledged. */
  events: Set<string>;
  /** Replies that were neither success nor one of the refusals a client may expect in an outage. */
  surprises: string[];
  /** Requests that had to be said again. */
  retries: number;
}

/** Codes with which the platform may refuse while a part of it is away. */
const OUTAGE = new Set(['upstream-unavailable', 'upstream-timeout', 'bad-gateway']);

/**
 * Learner and teacher write messages (each mentions the other) and send analytics batches until `signal` aborts. Each is
 * said again with the same id until it is acknowledged, as a good client does.
 */
export async function writeUntil(room: Classroom, signal: AbortSignal, writers = 4): Promise<Ledger> {
  const ledger: Ledger = { messages: new Map(), events: new Set(), surprises: [], retries: 0 };

  const insist = async (
    api: Api,
    path: string,
    body: unknown,
  ): Promise<{ id: string; seq: number } | undefined> => {
    for (const started = Date.now(); Date.now() - started < 90_000; ) {
      try {
        const response = await fetch(api.url + path, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${api.token}` },
          body: JSON.stringify(body),
          signal: AbortSignal.timeout(15_000),
        });
        const reply = (await response.json()) as { id: string; seq: number; code?: string };
        if (response.ok) return reply;
        if (!OUTAGE.has(reply.code ?? '')) ledger.surprises.push(`${path}: ${response.status} ${reply.code}`);
        if (response.status === 503 && !response.headers.get('retry-after'))
          ledger.surprises.push(`${path}: 503 without Retry-After`);
      } catch {
        // The gateway itself was killed: connection refused or reset.
      }
      ledger.retries++;
      await Bun.sleep(100);
    }
    ledger.surprises.push(`${path}: not acknowledged within 90 s`);
    return undefined;
  };

  const write = async (writer: number): Promise<void> => {
    const [me, other] = writer % 2 ? [room.teacher, room.learner] : [room.learner, room.teacher];
    for (let index = 0; !signal.aborted; index++) {
      const clientId = `w${writer}-${index}`;
      const message = await insist(me.api, `/api/chat/rooms/${room.roomId}/messages`, {
        clientId,
        body: `<@${other.id}> ${clientId}`,
      });
      if (message) ledger.messages.set(`${me.id} ${clientId}`, message);
      const events = Array.from({ length: 5 }, () => ({
        id: crypto.randomUUID(),
        name: 'page.viewed',
        at: new Date().toISOString(),
        courseId: room.courseId,
      }));
      if (await insist(me.api, '/api/analytics/events/batch', { events }))
        for (const event of events) ledger.events.add(event.id);
      await Bun.sleep(5);
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
  return ledger;
}

/** What the platform holds after the storm, read through the gateway. */
export async function readBack(
  room: Classroom,
): Promise<{ messages: { id: string; seq: number; clientId: string; author: { id: string } }[] }> {
  const messages: { id: string; seq: number; clientId: string; author: { id: string } }[] = [];
  for (let after = 0; ; after = messages.at(-1)!.seq) {
    const { items } = await must(
      room.learner.api.get(`/api/chat/rooms/${room.roomId}/messages?after=${after}&limit=100`),
      'history',
    );
    messages.push(...items);
    if (items.length < 100) return { messages };
  }
}

/** How many mention notifications somebody has: each message that mentions them must make exactly one. */
export async function countMentions(person: Person): Promise<number> {
  let count = 0;
  for (let cursor = ''; ; ) {
    const page = await must(person.api.get(`/api/notifications?limit=100${cursor}`), 'notifications');
    count += page.items.filter((item: { kind: string }) => item.kind === 'mention').length;
    if (!page.nextCursor) return count;
    cursor = `&cursor=${encodeURIComponent(page.nextCursor)}`;
  }
}
