import { startCluster } from '../support/platform.ts';
import { schoolDay } from './school-day.ts';

schoolDay('with the services on Deno', () => startCluster({ args: ['--runtime', 'deno'] }), {
  videoBytes: 64 << 20,
});
