import type { Kysely } from 'kysely';
import { CLAIM_SECONDS, envelopeOf } from '../../../shared/events/outbox.ts';
import { toMessage } from '../store/messages.ts';
import { insertMessages } from '../store/sending.ts';
import type { ChatTables } from '../store/tables.ts';
import type { WordFilter } from '../word-filter/word-filter.ts';
import { excerptOf, speaksToSomebody } from './mentions.ts';
import { keyOf, keyTextOf, newRow, type Send, type Sent, sentEvent } from './new-message.ts';
import { readFilter } from './posting-rules.ts';
import type { Stored } from './store-messages.ts';

/**
 * Stores in one round trip those messages about which there is nothing to decide: text that the word filter lets through,
 * from a member whom nothing binds, to a room without restrictions. Most are like that. Whatever else there is, is left to
 * `storeMessages`, and with it all messages to that room, so that they keep their order: their outcome is undefined.
 * Rejects as `insertMessages` does, having stored none.
 */
export async function storePlainMessages(
  db: Kysely<ChatTables>,
  filter: WordFilter,
  sends: Send[],
): Promise<Stored<Sent | undefined>> {
  await readFilter(db, filter);
  const rows = new Map(plainAmong(sends, filter).map((send) => [send, newRow(send)]));
  const stored = await insertMessages(
    db,
    [...rows].map(([send, row]) => ({
      ...row,
      present: true,
      events: [envelopeOf(sentEvent(row, excerptOf(row.body), send))],
    })),
    { plainOnly: true, claimSeconds: CLAIM_SECONDS },
  );
  const outcomes = sends.map((send): Sent | undefined => {
    const row = rows.get(send);
    const facts = row && stored.messages.get(row.id);
    return facts && { message: toMessage({ ...row, ...facts }, []), created: true };
  });
  const messages = outcomes.flatMap((outcome) => outcome?.message ?? []);
  return { outcomes, messages, threads: [], apart: [], events: stored.events };
}

/** Those to rooms to which all of them are plain, as far as one can see without asking the database. */
function plainAmong(sends: Send[], filter: WordFilter): Send[] {
  const known = new Set<string>();
  const special = new Set<string>();
  for (const send of sends) {
    const key = keyTextOf(send);
    if (known.has(key) || !isPlain(send, filter)) special.add(keyOf(send).roomId);
    known.add(key);
  }
  return sends.filter((send) => !special.has(keyOf(send).roomId));
}

function isPlain(send: Send, filter: WordFilter): boolean {
  const { author, input } = send;
  return (
    !author.exempt &&
    (input.replyTo ?? null) === null &&
    (input.attachments ?? []).length === 0 &&
    !speaksToSomebody(input.body) &&
    filter.match(keyOf(send).roomId, input.body) === undefined
  );
}
