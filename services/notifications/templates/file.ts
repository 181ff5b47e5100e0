import { links, type Words } from './words.ts';

/** A file of the receiver's is ready to be used. */
export const fileProcessed = (facts: { fileId: string; name: string }): Words => ({
  title: `${facts.name} is ready`,
  body: `Your file “${facts.name}” has been checked and can be used now.`,
  link: links.file(facts.fileId),
  action: 'Open the file',
});

/** A file of the receiver's could not be taken. */
export const fileRejected = (facts: { fileId: string; name: string; reason: string }): Words => ({
  title: `${facts.name} could not be taken`,
  body: `Your file “${facts.name}” was rejected: ${facts.reason}`,
  link: links.file(facts.fileId),
  action: 'See the file',
});
