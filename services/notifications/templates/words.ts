/** What a notification says, in the list and in the mail. Plain text: the mail's layout escapes it. */
export interface Words {
  /** One line; also the subject of the mail. */
  title: string;
  body: string;
  /** Where it leads on the web app; fragments, so that every link opens whatever serves `/`. */
  link: string;
  /** Label of the mail's button. */
  action: string;
}

export const links = {
  room: (roomId: string, seq: number) => `/#/rooms/${roomId}?at=${seq}`,
  course: (courseId: string) => `/#/courses/${courseId}`,
  file: (fileId: string) => `/#/files/${fileId}`,
  invitations: '/#/invitations',
  preferences: '/#/settings/notifications',
};
