import { links, type Words } from './words.ts';

/** Somebody wrote the receiver's name in a room. */
export const mention = (facts: {
  authorName: string;
  roomId: string;
  roomName: string;
  seq: number;
  /** The message or its beginning, with names in place of ids. */
  excerpt: string;
}): Words => ({
  title: facts.roomName
    ? `${facts.authorName} mentioned you in ${facts.roomName}`
    : `${facts.authorName} mentioned you`,
  body: facts.excerpt,
  link: links.room(facts.roomId, facts.seq),
  action: 'Read and answer',
});
