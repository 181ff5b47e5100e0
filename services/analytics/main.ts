import { runProcess } from '../../shared/platform/process.ts';
import { createAnalytics } from './service.ts';

runProcess('analytics', createAnalytics);
