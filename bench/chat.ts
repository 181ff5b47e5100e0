import { openStage } from './chat/stage.ts';
import { WORKS, type WorkName } from './chat/works.ts';

/**
 * `npm run bench -- chat [room open idle history hot nodes]`: chat beside plain Socket.IO on Node and on Bun with the
 * Redis adapter, which stores and checks nothing. All in one run on one machine, on servers of its own, the peers in
 * turns with ours. Centrifugo would be a peer too; it is not to be had as a package of a registry that we use.
 */
export async function run(args: string[]): Promise<void> {
  const names = args.length > 0 ? args : Object.keys(WORKS);
  const unknown = names.find((name) => !(name in WORKS));
  if (unknown) throw new Error(`There is no ${unknown}; there are ${Object.keys(WORKS).join(', ')}`);
  const stage = await openStage();
  try {
    for (const name of names) {
      const { title, run: work } = WORKS[name as WorkName];
      console.log(`\n${title}\n`);
      await work(stage);
    }
  } finally {
    await stage.close();
  }
}
