import type { Context } from '../../../shared/http/context.ts';
import { saveName, saveRole } from '../store/people.ts';
import type { ContentTables } from '../store/tables.ts';

/** Keeps what events say about a person, each fact as of its own time. */
export async function learnAboutPerson(
  context: Context<ContentTables>,
  fact: { userId: string; at: string; displayName?: string; role?: string },
): Promise<void> {
  const at = new Date(fact.at);
  if (fact.displayName !== undefined) await saveName(context.db, fact.userId, fact.displayName, at);
  if (fact.role !== undefined) await saveRole(context.db, fact.userId, fact.role, at);
}
