import type { EventData } from '../../../shared/contracts/events.ts';
import type { NotificationsContext, NotificationsTools } from '../context.ts';
import { findPeople } from '../store/people.ts';
import { mention } from '../templates/mention.ts';
import { notify } from './notify.ts';

const MENTION = /<@([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})>/gi;

/** Tells those who were mentioned in a message, except its author. */
export async function notifyMention(
  tx: NotificationsContext,
  tools: NotificationsTools,
  data: EventData<'message.mentioned'>,
): Promise<void> {
  const excerpt = await withNames(tx, data.excerpt);
  const mentioned = data.mentioned.filter((userId) => userId !== data.authorId);
  await notify(tx, tools, 'mention', mentioned, mention({ ...data, excerpt }));
}

/** The text with names in place of `<@userId>`. */
async function withNames({ db }: NotificationsContext, text: string): Promise<string> {
  const ids = [...text.matchAll(MENTION)].map((match) => match[1]!.toLowerCase());
  const people = await findPeople(db, [...new Set(ids)]);
  return text.replace(
    MENTION,
    (_, id: string) => `@${people.get(id.toLowerCase())?.display_name ?? 'someone'}`,
  );
}
