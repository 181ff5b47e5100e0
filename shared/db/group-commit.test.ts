import { describe, expect, test } from 'bun:test';
import { unavailable } from '../errors.ts';
import { GroupCommit } from './group-commit.ts';

interface Item {
  key: string;
  value: number;
}

/** Batches that wait until the test lets them go, in the order of their start. */
function gated(options: { most?: number; lanes?: number; everyMs?: number } = {}) {
  const started: { items: Item[]; finish: (error?: unknown) => void }[] = [];
  const group = new GroupCommit<Item, number>(
    [
      (items) =>
        new Promise((resolve, reject) => {
          const finish = (error?: unknown) =>
            error === undefined
              ? resolve({ results: items.map(({ value }) => value * 10), after: () => {} })
              : reject(error);
          started.push({ items, finish });
        }),
    ],
    {
      most: options.most ?? 100,
      lanes: options.lanes ?? 1,
      everyMs: options.everyMs ?? 0,
      keyOf: ({ key }) => key,
    },
  );
  const values = (index: number) => started[index]?.items.map(({ value }) => value);
  return { group, started, values };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
const item = (value: number, key = 'a'): Item => ({ key, value });

describe('group commit', () => {
  test('what comes while a batch is under way goes together, in order, with a result each', async () => {
    const { group, started, values } = gated();
    const first = group.add(item(1));
    await turn();
    const rest = [2, 3, 4].map((value) => group.add(item(value)));
    await turn();
    expect([values(0), values(1)]).toEqual([[1], undefined]);
    started[0]!.finish();
    await turn();
    expect(values(1)).toEqual([2, 3, 4]);
    started[1]!.finish();
    expect(await Promise.all([first, ...rest])).toEqual([10, 20, 30, 40]);
  });

  test('what a batch still has to do comes after the next has begun, and before its results', async () => {
    const happened: string[] = [];
    const group = new GroupCommit<Item, number>(
      [
        async (items) => {
          happened.push(`begin ${items[0]!.value}`);
          await turn();
          return {
            results: items.map(({ value }) => value),
            after: () => void happened.push(`after ${items[0]!.value}`),
          };
        },
      ],
      { most: 1, lanes: 1, everyMs: 0, keyOf: ({ key }) => key },
    );
    await Promise.all(
      [1, 2].map((value) => group.add(item(value)).then((result) => happened.push(`result ${result}`))),
    );
    expect(happened).toEqual(['begin 1', 'begin 2', 'after 1', 'result 1', 'after 2', 'result 2']);
  });

  test('a batch is bounded, and the rest follows', async () => {
    const { group, started, values } = gated({ most: 2 });
    const all = [1, 2, 3, 4, 5].map((value) => group.add(item(value)));
    for (const index of [0, 1, 2]) {
      await turn();
      started[index]!.finish();
    }
    expect(await Promise.all(all)).toEqual([10, 20, 30, 40, 50]);
    expect([values(0), values(1), values(2)]).toEqual([[1, 2], [3, 4], [5]]);
  });

  test('lanes work side by side, but never two on the same key', async () => {
    const { group, started, values } = gated({ lanes: 2 });
    const all = [group.add(item(1, 'a'))];
    await turn();
    all.push(group.add(item(2, 'a')), group.add(item(3, 'b')), group.add(item(4, 'a')));
    await turn();
    expect([values(0), values(1), values(2)]).toEqual([[1], [3], undefined]);
    started[0]!.finish();
    await turn();
    expect(values(2)).toEqual([2, 4]);
    started[1]!.finish();
    started[2]!.finish();
    expect(await Promise.all(all)).toEqual([10, 20, 30, 40]);
  });

  test('batches begin no more often than they should; after a pause one begins at once', async () => {
    const { group, started, values } = gated({ lanes: 2, everyMs: 200 });
    const all = [group.add(item(1, 'a'))];
    await turn();
    const begun = performance.now();
    all.push(group.add(item(2, 'b')));
    await turn();
    all.push(group.add(item(3, 'c')));
    expect([values(0), values(1)]).toEqual([[1], undefined]);
    started[0]!.finish();
    while (started.length < 2) await turn();
    expect(performance.now() - begun).toBeGreaterThan(150);
    expect(values(1)).toEqual([2, 3]);
    started[1]!.finish();
    expect(await Promise.all(all)).toEqual([10, 20, 30]);
  });

  test('an item that cannot be committed fails alone, and the others keep their order', async () => {
    const committed: number[] = [];
    const group = new GroupCommit<Item, number>(
      [
        async (items) => {
          if (items.some(({ value }) => value === 5)) throw new Error('bad item');
          committed.push(...items.map(({ value }) => value));
          return { results: items.map(({ value }) => value), after: () => {} };
        },
      ],
      { most: 100, lanes: 1, everyMs: 0, keyOf: ({ key }) => key },
    );
    const outcomes = await Promise.allSettled(
      [1, 2, 3, 4, 5, 6, 7, 8].map((value) => group.add(item(value))),
    );
    expect(committed).toEqual([1, 2, 3, 4, 6, 7, 8]);
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1);
    expect(outcomes[4]!.status).toBe('rejected');
  });

  test('an outage is told to all at once, and later items are tried again', async () => {
    let tries = 0;
    const group = new GroupCommit<Item, number>(
      [
        async (items) => {
          if (++tries === 1) throw unavailable('The database');
          return { results: items.map(({ value }) => value), after: () => {} };
        },
      ],
      { most: 100, lanes: 1, everyMs: 0, keyOf: ({ key }) => key },
    );
    const outcomes = await Promise.allSettled([1, 2, 3].map((value) => group.add(item(value))));
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(tries).toBe(1);
    expect(await group.add(item(4))).toBe(4);
  });

  test('what a stage leaves over goes to the next, and its keys stay busy until then', async () => {
    const happened: string[] = [];
    const both = (...stages: ((value: number) => number | undefined)[]) =>
      stages.map((resultOf, stage) => async (items: Item[]) => {
        happened.push(`${stage}: ${items.map(({ value }) => value)}`);
        await turn();
        return { results: items.map(({ value }) => resultOf(value)), after: () => {} };
      });
    const group = new GroupCommit<Item, number>(
      both(
        (value) => (value % 2 === 0 ? value : undefined),
        (value) => value * 100,
      ),
      { most: 3, lanes: 2, everyMs: 0, keyOf: ({ key }) => key },
    );
    const all = [item(1), item(2), item(3, 'b'), item(4), item(6, 'c')].map((one) =>
      group.add(one).then((result) => happened.push(`= ${result}`)),
    );
    await Promise.all(all);
    expect(happened).toEqual(['0: 1,2,4', '0: 3,6', '1: 1', '= 2', '= 4', '1: 3', '= 6', '= 100', '= 300']);
  });

  test('an item that no stage can commit fails alone; a key keeps its order through halves and stages', async () => {
    const kept: number[] = [];
    const group = new GroupCommit<Item, number>(
      [
        async (items) => {
          if (items.some(({ value }) => value === 5)) throw new Error('bad item');
          // A key's items all or none.
          const odd = new Set(items.flatMap(({ key, value }) => (value % 2 === 1 ? key : [])));
          const fit = items.filter(({ key }) => !odd.has(key));
          kept.push(...fit.map(({ value }) => value));
          return {
            results: items.map((one) => (fit.includes(one) ? one.value : undefined)),
            after: () => {},
          };
        },
        async (items) => {
          await turn();
          kept.push(...items.map(({ value }) => value));
          return { results: items.map(({ value }) => value), after: () => {} };
        },
      ],
      { most: 100, lanes: 1, everyMs: 0, keyOf: ({ key }) => key },
    );
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5, 6, 8].map((value) => group.add(item(value))));
    expect(kept).toEqual([1, 2, 3, 4, 6, 8]);
    expect(outcomes.map(({ status }) => status === 'rejected')).toEqual(
      [1, 2, 3, 4, 5, 6, 8].map((value) => value === 5),
    );
  });
});
