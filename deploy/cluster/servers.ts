import { type Servers, startOne, status } from '../servers/servers.ts';
import { RESTART_MS } from './supervisor.ts';

export interface WatchedServers {
  servers(): Servers;
  stop(): void;
}

type ServerName = keyof Servers;

const POLL_MS = 300;

/** Starts each real server again 2 s after it dies, on the same port and data. */
export function watchServers(
  dir: string,
  first: Servers,
  options: { onChange: () => void; log: (line: string) => void },
): WatchedServers {
  const servers: Servers = structuredClone(first);
  const busy = new Set<ServerName>();

  const revive = async (name: ServerName): Promise<void> => {
    busy.add(name);
    options.log(`${name} ended; starting it again`);
    await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
    try {
      await startOne(name, { dir });
      // Same port and credentials as before; only the process is another.
      servers[name].pid = (await status({ dir }))[name].pid ?? servers[name].pid;
    } catch (error) {
      options.log(`${name} could not be started: ${error instanceof Error ? error.message : error}`);
    }
    busy.delete(name);
    options.onChange();
  };

  const timer = setInterval(() => {
    for (const name of Object.keys(servers) as ServerName[]) {
      if (!busy.has(name) && !isAlive(servers[name].pid)) void revive(name);
    }
  }, POLL_MS);

  return { servers: () => servers, stop: () => clearInterval(timer) };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
