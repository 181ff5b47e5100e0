import { PEER_NAMES, type PeerName } from './peers.ts';
import { WORKLOAD_NAMES, type WorkloadName } from './workloads.ts';

export interface Options {
  only: WorkloadName[];
  peers: PeerName[];
  /** Of one measurement that has a duration. */
  seconds: number;
  /** Measurements of each peer, taken in turns. */
  repeat: number;
}

const USAGE = `usage: npm run bench -- gateway [--only ${WORKLOAD_NAMES.join(',')}]
         [--peers ${PEER_NAMES.join(',')}] [--seconds 3] [--repeat 3]`;

/** Throws an Error with the usage on anything unknown. */
export function parseOptions(args: string[]): Options {
  const options: Options = { only: [...WORKLOAD_NAMES], peers: [...PEER_NAMES], seconds: 3, repeat: 3 };
  for (let index = 0; index < args.length; index += 2) {
    const value = args[index + 1] ?? '';
    switch (args[index]) {
      case '--only':
        options.only = listOf(value, WORKLOAD_NAMES);
        break;
      case '--peers':
        options.peers = listOf(value, PEER_NAMES);
        break;
      case '--seconds':
        options.seconds = numberOf(value);
        break;
      case '--repeat':
        options.repeat = Math.ceil(numberOf(value));
        break;
      default:
        throw new Error(USAGE);
    }
  }
  return options;
}

/** In the order of `known`, whatever order they were asked for in. */
function listOf<T extends string>(value: string, known: readonly T[]): T[] {
  const wanted = value.split(',');
  if (wanted.some((name) => !known.some((each) => each === name))) throw new Error(USAGE);
  return known.filter((name) => wanted.includes(name));
}

function numberOf(value: string): number {
  const number = Number(value);
  if (!(number > 0 && number <= 600)) throw new Error(USAGE);
  return number;
}
