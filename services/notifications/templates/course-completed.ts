import { links, type Words } from './words.ts';

/** The receiver has completed every lesson of a course. */
export const courseCompleted = (facts: { courseId: string; courseTitle: string }): Words => ({
  title: `Congratulations! You completed ${facts.courseTitle}`,
  body: `You have worked through every lesson of “${facts.courseTitle}”. Well done!`,
  link: links.course(facts.courseId),
  action: 'Look back at the course',
});
