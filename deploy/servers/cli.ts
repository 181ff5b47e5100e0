import { join } from 'node:path';
import { down, SERVER_NAMES, status, up } from './servers.ts';

/** `npm run servers -- up|down|status`. LYCEUM_SERVERS_DIR is the folder (default `.data/servers`). */
const { LYCEUM_SERVERS_DIR, XDG_CACHE_HOME } = process.env;
const options = {
  dir: LYCEUM_SERVERS_DIR || '.data/servers',
  cache: XDG_CACHE_HOME ? join(XDG_CACHE_HOME, 'lyceum') : undefined,
  log: (line: string) => console.error(line),
};

try {
  switch (process.argv[2]) {
    case 'up':
      console.log(JSON.stringify(await up(options), null, 2));
      break;
    case 'down':
      await down(options);
      console.log('all servers are down');
      break;
    case 'status': {
      const found = await status(options);
      for (const name of SERVER_NAMES) {
        const { running, ready, pid, url, log } = found[name];
        const what = ready ? 'ready' : running ? 'runs, does not answer' : 'down';
        console.log(`${name.padEnd(9)} ${what.padEnd(6)} ${pid ?? '-'} ${url ?? ''} (log: ${log})`);
      }
      process.exitCode = SERVER_NAMES.every((name) => found[name].ready) ? 0 : 1;
      break;
    }
    default:
      console.error('usage: npm run servers -- up|down|status');
      process.exitCode = 2;
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
process.exit(); // clients used to ask the servers may hold connections open for a while
