import { runProcess } from '../../shared/platform/process.ts';
import { createProfile } from './service.ts';

runProcess('profile', createProfile);
