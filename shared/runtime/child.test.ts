import { afterAll, expect, test } from 'bun:test';
import { ChildWorker } from './child.ts';

interface Input {
  act: string;
  bytes?: Uint8Array;
}
const options = { timeoutMs: 3_000, maxRssBytes: 400_000_000 };
const script = new URL('./child.fixture.ts', import.meta.url);
const worker = new ChildWorker<Input, unknown>({ ...options, script });
afterAll(() => worker.stop());

const failure = (input: Input) =>
  worker.run(input).then(
    () => 'none',
    (error) => error.kind,
  );

test('bytes go there and back, several jobs in order', async () => {
  const sizes = [0, 1, 70_000, 20_000_000];
  const answers = await Promise.all(
    sizes.map((size) => worker.run({ act: 'echo', bytes: new Uint8Array(size).fill(7) })),
  );
  expect(answers.map((answer) => (answer as Uint8Array).byteLength)).toEqual(sizes);
  expect((answers[3] as Uint8Array)[19_999_999]).toBe(7);
});

test('the child has none of this process’s secrets, and its chatter does no harm', async () => {
  process.env.LYCEUM_TEST_SECRET = 'x';
  const fresh = new ChildWorker<Input, string[]>({ ...options, script });
  const names = await fresh.run({ act: 'environment' });
  fresh.stop();
  expect(names).not.toContain('LYCEUM_TEST_SECRET');
});

test('a job that throws, spins, exits or eats memory hurts itself only', async () => {
  expect(await failure({ act: 'refuse' })).toBe('refused');
  for (const [act, kind] of [
    ['exit', 'crashed'],
    ['grow', 'memory'],
    ['spin', 'timeout'],
  ] as const) {
    const [bad, next] = await Promise.all([failure({ act }), worker.run({ act: 'well' })]);
    expect([act, bad, next]).toEqual([act, kind, 'well']);
  }
});

test('a child that never comes up is no fault of the job', async () => {
  const broken = new ChildWorker<Input, unknown>({
    ...options,
    script: new URL('./no-such.ts', import.meta.url),
  });
  expect(await broken.run({ act: 'echo' }).catch((error) => error.code)).toBe('upstream-unavailable');
  broken.stop();
});

test('it ends when nobody needs it, and comes back when somebody does', async () => {
  const lazy = new ChildWorker<Input, unknown>({ ...options, script, idleMs: 50 });
  expect(await lazy.run({ act: 'a' })).toBe('a');
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(await lazy.run({ act: 'b' })).toBe('b');
  lazy.stop();
  expect(await lazy.run({ act: 'c' }).catch((error) => error.code)).toBe('upstream-unavailable');
});
