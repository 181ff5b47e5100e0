import type { Route } from '../../shared/http/route.ts';
import { courseRoutes } from './http/course-routes.ts';
import { type FileTools, fileRoutes } from './http/file-routes.ts';
import { learningRoutes } from './http/learning-routes.ts';
import { lessonRoutes } from './http/lesson-routes.ts';
import type { ContentTables } from './store/tables.ts';

/** Every HTTP route of the service. */
export const contentRoutes = (tools: FileTools): Route<ContentTables>[] => [
  ...courseRoutes(),
  ...lessonRoutes(),
  ...learningRoutes(),
  ...fileRoutes(tools),
];
