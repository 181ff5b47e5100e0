import { startCluster } from '../support/platform.ts';
import { schoolDay } from './school-day.ts';

schoolDay(
  'in a cluster with two of each',
  () => startCluster({ args: ['--gateway', '2', '--chat', '2', '--content', '2'] }),
  {
    videoBytes: 1 << 30,
  },
);
