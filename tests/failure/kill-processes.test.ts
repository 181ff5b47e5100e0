import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { eventually, newPerson } from '../support/people.ts';
import { readCluster, startCluster, type TestPlatform } from '../support/platform.ts';
import { expectExact } from './check.ts';
import { type Classroom, openClassroom, writeUntil } from './ledger.ts';

describe('kill -9 of every process in turn, while people write', () => {
  let platform: TestPlatform;
  let room: Classroom;
  beforeAll(async () => {
    platform = await startCluster({
      args: ['--gateway', '2', '--chat', '2', '--content', '2'],
      env: { LYCEUM_DEMO: 'on', LYCEUM_ACCESS_TOKEN_SECONDS: '3600' },
    });
    room = await openClassroom(
      platform,
      await newPerson(platform, 'Kil Teacher', 'teacher'),
      await newPerson(platform, 'Kil Learner'),
    );
  }, 300_000);
  afterAll(() => platform?.dispose(), 60_000);

  test('nothing acknowledged is lost, nothing happens twice', async () => {
    const stop = new AbortController();
    const writing = writeUntil(room, stop.signal);
    const victims = (await readCluster(platform)).processes;
    expect(victims.length).toBe(10);
    for (const victim of victims) {
      await Bun.sleep(1_000);
      process.kill(victim.pid, 'SIGKILL');
      await eventually(
        `${victim.name} ${victim.replica} back`,
        async () => {
          const now = (await readCluster(platform)).processes.find(
            (p) => p.name === victim.name && p.replica === victim.replica,
          );
          return now && now.pid !== victim.pid ? true : undefined;
        },
        20_000,
      );
    }
    await Bun.sleep(3_000);
    stop.abort();
    const ledger = await writing;
    console.log(
      `${ledger.messages.size} messages and ${ledger.events.size} events acknowledged, ${ledger.retries} retries`,
    );
    expect(ledger.messages.size).toBeGreaterThan(100);
    await expectExact(room, ledger);
  }, 300_000);
});
