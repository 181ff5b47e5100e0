import { runProcess } from '../../shared/platform/process.ts';
import { createNotifications } from './service.ts';

runProcess('notifications', createNotifications);
