import { startEmbedded } from '../support/platform.ts';
import { schoolDay } from './school-day.ts';

schoolDay('in one process', () => startEmbedded(), { videoBytes: 1 << 30 });
