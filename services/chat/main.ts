import { runProcess } from '../../shared/platform/process.ts';
import { createChat } from './service.ts';

runProcess('chat', createChat);
