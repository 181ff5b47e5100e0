import { runProcess } from '../../shared/platform/process.ts';
import { createAuth } from './service.ts';

runProcess('auth', createAuth);
