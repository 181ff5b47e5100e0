import { links, type Words } from './words.ts';

/** Somebody asks the receiver into a group. */
export const invitation = (facts: { roomName: string; invitedByName: string }): Words => ({
  title: `${facts.invitedByName} invited you into ${facts.roomName}`,
  body: `You can come into the group “${facts.roomName}”, or decline.`,
  link: links.invitations,
  action: 'See the invitation',
});
