/** `npm run bench -- <name>`: one benchmark, beside its peers where it has any. */

const BENCHMARKS: Record<string, () => Promise<{ run(): Promise<void> }>> = {
  start: () => import('./start.ts'),
  passwords: () => import('./passwords.ts'),
};

async function main(name: string | undefined): Promise<void> {
  const load = name ? BENCHMARKS[name] : undefined;
  if (!load) {
    console.error(`Which one? npm run bench -- ${Object.keys(BENCHMARKS).join('|')}`);
    process.exit(2);
  }
  await (await load()).run();
  process.exit(0);
}

await main(process.argv[2]);

export {};
