import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { eventually, newPerson } from '../support/people.ts';
import { readCluster, startCluster, type TestPlatform } from '../support/platform.ts';
import { expectExact } from './check.ts';
import { type Classroom, openClassroom, writeUntil } from './ledger.ts';

describe('the servers behind it restart while people write', () => {
  let platform: TestPlatform;
  beforeAll(async () => {
    platform = await startCluster({ env: { LYCEUM_ACCESS_TOKEN_SECONDS: '3600' } });
  }, 300_000);
  afterAll(() => platform?.dispose(), 60_000);

  test.each(['rabbitmq', 'redis', 's3', 'postgres'] as const)(
    '%s: recovers by itself and loses nothing',
    async (server) => {
      const room: Classroom = await openClassroom(
        platform,
        await newPerson(platform, `${server} Teacher`, 'teacher'),
        await newPerson(platform, `${server} Learner`),
      );
      const stop = new AbortController();
      const writing = writeUntil(room, stop.signal);
      await Bun.sleep(1_500);
      const before = (await readCluster(platform)).servers[server].pid;
      process.kill(before, 'SIGKILL');
      await eventually(
        `${server} back`,
        async () => ((await readCluster(platform)).servers[server].pid === before ? undefined : true),
        90_000,
      );
      await Bun.sleep(4_000);
      stop.abort();
      const ledger = await writing;
      console.log(`${server}: ${ledger.messages.size} messages acknowledged, ${ledger.retries} retries`);
      expect(ledger.messages.size).toBeGreaterThan(20);
      await expectExact(room, ledger);
    },
    240_000,
  );
});
