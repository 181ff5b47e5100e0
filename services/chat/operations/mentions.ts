import type { Kysely } from 'kysely';
import { findMentioned } from '../store/sending.ts';
import type { ChatTables } from '../store/tables.ts';

const MENTION = /<@([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>/gi;
/** Everybody in the room; for its moderators. */
const ROOM_MENTION = '<@room>';
const MOST = 50;
const EXCERPT = 200;

export interface Mentions {
  /** Mentioned members, in the order of the text; others do not count. */
  userIds: string[];
  /** The text speaks to the whole room. Whether its author may, is for others to say. */
  room: boolean;
  /** The start of the text for people, at most 200 characters, with names for mentions. */
  excerpt: string;
}

/** Reads `<@userId>` and `<@room>` out of the texts of messages: one query for all, none if nobody is named. */
export async function readMentions(
  db: Kysely<ChatTables>,
  texts: { roomId: string; body: string }[],
): Promise<Mentions[]> {
  const named = texts.map(({ roomId, body }) => idsIn(body).map((userId) => ({ roomId, userId })));
  const rows = await findMentioned(db, named.flat());
  const names = new Map(rows.map((row) => [`${row.room_id} ${row.user_id}`, row.display_name ?? '']));
  return texts.map(({ roomId, body }, index) => {
    const text = !speaksToSomebody(body)
      ? body
      : body
          .replace(MENTION, (whole, id: string) => {
            const name = names.get(`${roomId} ${id.toLowerCase()}`);
            return name ? `@${name}` : whole;
          })
          .replaceAll(ROOM_MENTION, '@room');
    const userIds = named[index]!.map(({ userId }) => userId).filter((id) => names.has(`${roomId} ${id}`));
    return { userIds, room: body.includes(ROOM_MENTION), excerpt: excerptOf(text) };
  });
}

/** A text without this mentions nobody. */
export const speaksToSomebody = (body: string): boolean => body.includes('<@');

function idsIn(body: string): string[] {
  if (!speaksToSomebody(body)) return [];
  return [...new Set([...body.matchAll(MENTION)].map((match) => match[1]!.toLowerCase()))].slice(0, MOST);
}

/** At most 200 characters, cut between graphemes, so that no emoji is halved. */
export function excerptOf(text: string): string {
  if (text.length <= EXCERPT) return text;
  let end = 0;
  for (const { index, segment } of new Intl.Segmenter().segment(text.slice(0, EXCERPT + 50))) {
    if (index + segment.length > EXCERPT - 1) break;
    end = index + segment.length;
  }
  return `${text.slice(0, end)}…`;
}
