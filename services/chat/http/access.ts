import { type Access, signedIn } from '../../../shared/auth/access.ts';

/** Who gets what of a course's room: the rows of the access matrix. Strangers may not know that it exists. */

const strangers = { learnerNotEnrolled: 'not-found', otherTeacher: 'not-found' } as const;

/** Members look in, administrators too. */
export const lookers: Access = signedIn(strangers);
/** Members take part; administrators only look in. */
export const members: Access = signedIn({ ...strangers, administrator: 'forbidden' });
/** Moderators: here the teacher and administrators. */
export const moderators: Access = signedIn({ ...strangers, learnerEnrolled: 'forbidden' });
/** The same people in a course's room; in a group moderators are not enough. */
export const owners: Access = moderators;
/** The members of a course's room follow its enrolments: nobody chooses them. */
export const nobody: Access = signedIn({
  ...strangers,
  learnerEnrolled: 'forbidden',
  courseTeacher: 'forbidden',
  administrator: 'forbidden',
});
/** Something of one learner's own: others may not know of it. */
export const theLearner: Access = signedIn({
  ...strangers,
  courseTeacher: 'not-found',
  administrator: 'not-found',
});
