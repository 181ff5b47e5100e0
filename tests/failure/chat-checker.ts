import { parseArgs } from 'node:util';
import { Api, must } from '../../deploy/demo/api.ts';
import { seededRandom } from '../../shared/seeded-random.ts';
import { tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { eventually, newPerson, type Person, signIn } from '../support/people.ts';
import { startCluster } from '../support/platform.ts';
import { CHAT_FAULTS, type ChatFault } from './chat-faults.ts';
import { findViolations, type History, type Violation } from './chat-history.ts';
import { ChatStorm, type StormPerson, type StormWorld } from './chat-storm.ts';

/**
 * Chat under faults, in the manner of Jepsen: a cluster with two gateways and two chats, clients who write all the
 * time, one fault after the other in an order that the seed decides, then the check of what everybody did and saw
 * against what is stored. `bun tests/failure/chat-checker.ts --messages 10000 --seed 7`, or one fault: `--fault 'kill
 * chat'`.
 */

export interface ChatCheck {
  /** Acknowledged while each fault is on and after it. */
  messagesPerFault: number;
  seed: number;
  faults?: ChatFault[];
  log?: (line: string) => void;
}

export interface ChatCheckResult {
  history: History;
  violations: Violation[];
  acknowledged: number;
}

const WRITERS = 8;
const READERS = 4;
const SLOWEST_PER_SECOND = 10;

export async function checkChat({
  messagesPerFault,
  seed,
  faults = Object.keys(CHAT_FAULTS) as ChatFault[],
  log = () => {},
}: ChatCheck): Promise<ChatCheckResult> {
  const random = seededRandom(seed);
  const platform = await startCluster({
    args: ['--gateway', '2', '--chat', '2'],
    env: { LYCEUM_DEMO: 'on', LYCEUM_ACCESS_TOKEN_SECONDS: '300' },
  });
  const way = await tcpProxy(platform.url);
  try {
    const people: Person[] = [];
    for (const name of ['Ann', 'Bob', 'Cid']) people.push(await newPerson(platform, `Storm ${name}`));
    const roomIds = [await openRoom(platform.url, people), await openRoom(platform.url, people)];
    const world: StormWorld = {
      people,
      roomIds,
      addressOf: (client) => (client % 2 === 0 ? platform.url : way.url),
      async renew(person) {
        const { email, password } = people.find(({ id }) => id === person.id)!;
        person.token = (await signIn(platform, email, password)).token;
      },
      read: (as, path) => must(new Api(platform.url, as.token).get(path), path),
    };
    const storm = new ChatStorm(world, { seed, writers: WRITERS, readers: READERS });
    try {
      await storm.start();
      for (const fault of shuffled(faults, random)) {
        const before = { acknowledged: storm.acknowledged, gaps: storm.gaps };
        const started = Date.now();
        const deadlineMs = 60_000 + (messagesPerFault / SLOWEST_PER_SECOND) * 1_000;
        const enough = storm.untilAcknowledged(messagesPerFault, deadlineMs);
        await Bun.sleep(200 + random(800));
        await Promise.all([enough, CHAT_FAULTS[fault]({ platform, way, random })]);
        log(
          `${fault}: ${storm.acknowledged - before.acknowledged} messages acknowledged in ${((Date.now() - started) / 1000).toFixed(1)} s, ${storm.gaps - before.gaps} gaps noticed`,
        );
      }
      const history = await storm.finish();
      const violations = findViolations(history);
      log(
        `${storm.acknowledged} messages and ${storm.changed} changes acknowledged, ${history.views.length} views, ${violations.length} violations`,
      );
      return { history, violations, acknowledged: storm.acknowledged };
    } finally {
      storm.close();
    }
  } finally {
    way.close();
    await platform.dispose();
  }
}

async function openRoom(url: string, people: StormPerson[]): Promise<string> {
  const owner = new Api(url, people[0]!.token);
  const memberIds = people.slice(1).map(({ id }) => id);
  // Chat learns of people by events.
  return eventually('a group with everybody in it', async () => {
    const { status, body } = await owner.post('/api/chat/rooms', { kind: 'group', name: 'Storm', memberIds });
    return status === 201 ? (body.id as string) : undefined;
  });
}

function shuffled<T>(items: T[], random: (below: number) => number): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(random(rest.length), 1)[0]!);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      fault: { type: 'string', multiple: true },
    },
  });
  const unknown = values.fault?.find((fault) => !(fault in CHAT_FAULTS));
  if (unknown) throw new Error(`--fault takes ${Object.keys(CHAT_FAULTS).join(', ')}`);
  const { violations } = await checkChat({
    messagesPerFault: Number(values.messages),
    seed: Number(values.seed),
    ...(values.fault ? { faults: values.fault as ChatFault[] } : {}),
    log: (line) => console.log(line),
  });
  for (const { kind, detail } of violations.slice(0, 20)) console.log(`${kind}: ${detail}`);
  process.exit(violations.length > 0 ? 1 : 0);
}
