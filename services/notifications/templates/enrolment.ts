import { links, type Words } from './words.ts';

/** Somebody enrolled in the receiver's course. */
export const enrolment = (facts: { courseId: string; courseTitle: string; displayName: string }): Words => ({
  title: `${facts.displayName} enrolled in ${facts.courseTitle}`,
  body: `${facts.displayName} is now a learner of your course “${facts.courseTitle}”.`,
  link: links.course(facts.courseId),
  action: 'Open the course',
});
