import { runProcess } from '../../shared/platform/process.ts';
import { createContent } from './service.ts';

runProcess('content', createContent);
