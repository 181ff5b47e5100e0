import { expect } from 'bun:test';
import { eventually, must } from '../support/people.ts';
import { type Classroom, countMentions, type Ledger, readBack } from './ledger.ts';

/**
 * After the storm: everything acknowledged is stored, numbers have no gaps, nothing is twice, and every event had
 * each of its effects exactly once.
 */
export async function expectExact(room: Classroom, ledger: Ledger): Promise<void> {
  expect(ledger.surprises).toEqual([]);
  const { messages } = await readBack(room);
  expect(messages.map((message) => message.seq)).toEqual(messages.map((_, index) => index + 1));
  const stored = new Map(messages.map((message) => [`${message.author.id} ${message.clientId}`, message]));
  expect(stored.size).toBe(messages.length);
  for (const [key, acknowledged] of ledger.messages) {
    expect([key, stored.get(key)?.id, stored.get(key)?.seq]).toEqual([
      key,
      acknowledged.id,
      acknowledged.seq,
    ]);
  }

  const by = (id: string) => messages.filter((message) => message.author.id === id).length;
  await eventually(
    'every mention has its notification',
    async () => {
      const counts = [await countMentions(room.teacher), await countMentions(room.learner)];
      const expected = [by(room.learner.id), by(room.teacher.id)];
      if (counts[0]! > expected[0]! || counts[1]! > expected[1]!)
        throw new Error(`doubled: ${counts} instead of ${expected}`);
      return counts.join() === expected.join() ? true : undefined;
    },
    90_000,
  );
  const overview = await eventually(
    'every message is counted',
    async () => {
      const report = await must(
        room.teacher.api.get(`/api/analytics/reports/courses/${room.courseId}/overview`),
        'report',
      );
      return report.messages >= messages.length ? report : undefined;
    },
    60_000,
  );
  expect(overview.messages).toBe(messages.length);

  const events = [...ledger.events]
    .slice(0, 500)
    .map((id) => ({ id, name: 'page.viewed', at: new Date().toISOString() }));
  const again = await Promise.all(
    [room.teacher, room.learner].map((person) =>
      must(person.api.post('/api/analytics/events/batch', { events }), 'batch again'),
    ),
  );
  // Each acknowledged event belongs to one of the two, who has it already.
  expect(again[0].duplicates + again[1].duplicates).toBe(events.length);
}
