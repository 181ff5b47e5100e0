import { spawn } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { newId } from '../../shared/ids.ts';
import type { Command, Connected, Measured, Target } from './load.ts';

export interface Loader {
  pid: number;
  connect(targets: Target[], perSecond?: number): Promise<Connected>;
  closedLoop(load: { seconds: number; senders: number; window: number }): Promise<Measured>;
  openLoop(load: { seconds: number; rate: number }): Promise<Measured>;
  /** Cuts all connections and opens them again. */
  reconnect(perSecond: number): Promise<Connected>;
  disconnect(): Promise<void>;
  close(): void;
}

export async function startLoader(dir: string): Promise<Loader> {
  const child = spawn(process.execPath, [join(import.meta.dir, 'load.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const waiting: ((reply: unknown) => void)[] = [];
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      waiting.shift()?.(JSON.parse(text.slice(0, end)));
      text = text.slice(end + 1);
    }
  });
  const ask = <T>(command: Command): Promise<T> =>
    new Promise((resolve) => {
      waiting.push(resolve as (reply: unknown) => void);
      child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  return {
    pid: child.pid!,
    async connect(targets, perSecond = 500) {
      const file = join(dir, `targets-${newId()}.json`);
      await writeFile(file, JSON.stringify(targets));
      const connected = await ask<Connected>({ do: 'connect', file, perSecond });
      await rm(file);
      if (connected.failed > 0)
        throw new Error(`${connected.failed} sockets did not connect: ${connected.errors}`);
      return connected;
    },
    closedLoop: (load) => ask({ do: 'closed-loop', ...load }),
    openLoop: (load) => ask({ do: 'open-loop', ...load }),
    reconnect: (perSecond) => ask({ do: 'reconnect', perSecond }),
    disconnect: async () => void (await ask({ do: 'disconnect' })),
    close: () => void child.kill('SIGKILL'),
  };
}
