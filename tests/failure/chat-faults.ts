import type { TcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { eventually } from '../support/people.ts';
import { type ClusterFile, readCluster, type TestPlatform } from '../support/platform.ts';

/** What is done to a running cluster while people chat. Each resolves when what was broken is there again. */

export interface FaultScene {
  platform: TestPlatform;
  /** The way of every second client. */
  way: TcpProxy;
  random: (below: number) => number;
}

export const CHAT_FAULTS = {
  'kill chat': (scene: FaultScene) => killProcess(scene, 'chat'),
  'kill gateway': (scene: FaultScene) => killProcess(scene, 'gateway'),
  'stop redis': (scene: FaultScene) => stopServer(scene, 'redis', ['SIGTERM', 'SIGKILL']),
  'stop postgres': (scene: FaultScene) => stopServer(scene, 'postgres', ['SIGINT', 'SIGKILL']),
  'pause chat': async ({ platform, random }: FaultScene) => {
    const chats = (await readCluster(platform)).processes.filter(({ name }) => name === 'chat');
    const { pid } = chats[random(chats.length)]!;
    process.kill(pid, 'SIGSTOP');
    try {
      await Bun.sleep(3_000 + random(3_000));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  },
  'cut connections': async ({ way, random }: FaultScene) => {
    for (let cut = 0; cut < 8; cut++) {
      way.cut();
      await Bun.sleep(100 + random(600));
    }
  },
  'slow connections': async ({ way, random }: FaultScene) => {
    for (let stall = 0; stall < 3; stall++) {
      way.stall(true);
      await Bun.sleep(500 + random(1_500));
      way.stall(false);
      await Bun.sleep(random(500));
    }
  },
} satisfies Record<string, (scene: FaultScene) => Promise<void>>;
export type ChatFault = keyof typeof CHAT_FAULTS;

async function killProcess({ platform, random }: FaultScene, name: 'chat' | 'gateway'): Promise<void> {
  const processes = (await readCluster(platform)).processes.filter((one) => one.name === name);
  const victim = processes[random(processes.length)]!;
  process.kill(victim.pid, 'SIGKILL');
  const isBack = ({ processes }: ClusterFile) =>
    processes.some((one) => one.name === name && one.replica === victim.replica && one.pid !== victim.pid);
  await eventually(
    `${name} ${victim.replica} back`,
    async () => (isBack(await readCluster(platform)) ? true : undefined),
    30_000,
  );
}

async function stopServer(
  { platform, random }: FaultScene,
  name: 'redis' | 'postgres',
  signals: NodeJS.Signals[],
): Promise<void> {
  const { pid } = (await readCluster(platform)).servers[name];
  process.kill(pid, signals[random(signals.length)]!);
  await eventually(
    `${name} back`,
    async () => ((await readCluster(platform)).servers[name].pid === pid ? undefined : true),
    90_000,
  );
}
