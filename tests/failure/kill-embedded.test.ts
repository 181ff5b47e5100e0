import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { newPerson } from '../support/people.ts';
import { startEmbedded, type TestPlatform } from '../support/platform.ts';
import { expectExact } from './check.ts';
import { type Classroom, openClassroom, writeUntil } from './ledger.ts';

describe('kill -9 of the whole platform in one process, while people write', () => {
  let platform: TestPlatform;
  let room: Classroom;
  beforeAll(async () => {
    platform = await startEmbedded({ env: { LYCEUM_ACCESS_TOKEN_SECONDS: '3600' } });
    room = await openClassroom(
      platform,
      await newPerson(platform, 'Emb Teacher', 'teacher'),
      await newPerson(platform, 'Emb Learner'),
    );
  }, 120_000);
  afterAll(() => platform?.dispose(), 60_000);

  test('nothing acknowledged is lost, nothing happens twice', async () => {
    const stop = new AbortController();
    const writing = writeUntil(room, stop.signal);
    for (let kill = 0; kill < 3; kill++) {
      await Bun.sleep(1_500 + 700 * kill);
      await platform.kill();
      await platform.restart();
    }
    await Bun.sleep(2_000);
    stop.abort();
    const ledger = await writing;
    console.log(`${ledger.messages.size} messages acknowledged, ${ledger.retries} retries`);
    expect(ledger.messages.size).toBeGreaterThan(10);
    await expectExact(room, ledger);
  }, 240_000);
});
