import { parseArgs } from 'node:util';
import { SERVICES, type ServiceName } from '../../shared/contracts/common.ts';

export type ProcessName = ServiceName | 'gateway';
export const PROCESS_NAMES: ProcessName[] = [...SERVICES, 'gateway'];

export interface ClusterOptions {
  replicas: Record<ProcessName, number>;
  runtime: 'bun' | 'deno';
}

/** `--chat 2 --gateway 2 --runtime deno`. Throws an Error that says what is wrong. */
export function parseClusterOptions(args: string[]): ClusterOptions {
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(PROCESS_NAMES.map((name) => [name, { type: 'string' as const, default: '1' }])),
      runtime: { type: 'string', default: 'bun' },
    },
  });
  const given = values as Record<string, string>;
  const replicas = Object.fromEntries(
    PROCESS_NAMES.map((name) => {
      const count = Number(given[name]);
      if (!Number.isInteger(count) || count < 1 || count > 16)
        throw new Error(`--${name} takes a number from 1 to 16`);
      return [name, count];
    }),
  ) as Record<ProcessName, number>;
  if (given.runtime !== 'bun' && given.runtime !== 'deno') throw new Error('--runtime takes bun or deno');
  return { replicas, runtime: given.runtime };
}
