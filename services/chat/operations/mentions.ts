import type { Kysely } from 'kysely';
import { findMembers } from '../store/members.ts';
import type { ChatTables } from '../store/tables.ts';

const MENTION = /<@([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>/gi;
const MOST = 50;
const EXCERPT = 200;

export interface Mentions {
  /** Mentioned members, in the order of the text; others do not count. */
  userIds: string[];
  /** The start of the text for people, at most 200 characters, with names for mentions. */
  excerpt: string;
}

/** Reads `<@userId>` out of a message's text. */
export async function readMentions(db: Kysely<ChatTables>, roomId: string, body: string): Promise<Mentions> {
  const ids = [...new Set([...body.matchAll(MENTION)].map((match) => match[1]!.toLowerCase()))].slice(
    0,
    MOST,
  );
  const rows = await findMembers(db, roomId, ids);
  const names = new Map(rows.map((row) => [row.user_id, row.display_name ?? '']));
  const text = body.replace(MENTION, (whole, id: string) => {
    const name = names.get(id.toLowerCase());
    return name ? `@${name}` : whole;
  });
  return { userIds: ids.filter((id) => names.has(id)), excerpt: excerptOf(text) };
}

/** Cut between graphemes, so that no emoji is halved. */
function excerptOf(text: string): string {
  if (text.length <= EXCERPT) return text;
  let end = 0;
  for (const { index, segment } of new Intl.Segmenter().segment(text.slice(0, EXCERPT + 50))) {
    if (index + segment.length > EXCERPT - 1) break;
    end = index + segment.length;
  }
  return `${text.slice(0, end)}…`;
}
