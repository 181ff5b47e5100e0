import { compareSync, hashSync } from 'bcryptjs';
import { hashPassword, stopPasswordWorkers, verifyPassword } from '../shared/auth/passwords.ts';
import { printTable } from './table.ts';

const CHECKS = 40;

/** Password checks on the worker pool beside the same on the event loop and the runtime's own: throughput and how long the loop stood still. */
export async function run(): Promise<void> {
  const password = 'correct horse battery';
  const pooled = await hashPassword(password);
  const plain = hashSync(password, 10);
  const native = await Bun.password.hash(password, { algorithm: 'bcrypt', cost: 10 });

  const rows = [
    await measure('bcryptjs on the event loop', async () => void compareSync(password, plain)),
    await measure('bcryptjs on the worker pool', async () => void (await verifyPassword(password, pooled))),
    await measure(
      'Bun.password on its threads',
      async () => void (await Bun.password.verify(password, native)),
    ),
  ];
  const base = rows[0]!.perSecond;
  printTable(
    ['password checks', 'checks/s', 'ratio', 'longest stop of the loop, ms'],
    rows.map((row) => [
      row.name,
      row.perSecond.toFixed(1),
      (row.perSecond / base).toFixed(2),
      row.stop.toFixed(0),
    ]),
  );
  stopPasswordWorkers();
}

async function measure(
  name: string,
  check: () => Promise<void>,
): Promise<{ name: string; perSecond: number; stop: number }> {
  await check(); // workers start
  let last = performance.now();
  let stop = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    stop = Math.max(stop, now - last - 1);
    last = now;
  }, 1);
  const started = performance.now();
  await Promise.all(Array.from({ length: CHECKS }, check));
  const seconds = (performance.now() - started) / 1000;
  await Bun.sleep(5);
  clearInterval(timer);
  return { name, perSecond: CHECKS / seconds, stop };
}
