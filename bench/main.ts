/** `npm run bench -- <name>`: one benchmark, beside its peers where it has any. */

const BENCHMARKS: Record<string, () => Promise<{ run(args: string[]): Promise<void> }>> = {
  start: () => import('./start.ts'),
  passwords: () => import('./passwords.ts'),
  gateway: () => import('./gateway.ts'),
  chat: () => import('./chat.ts'),
};

async function main(name: string | undefined, args: string[]): Promise<void> {
  const load = name ? BENCHMARKS[name] : undefined;
  if (!load) {
    console.error(`Which one? npm run bench -- ${Object.keys(BENCHMARKS).join('|')}`);
    process.exit(2);
  }
  await (await load()).run(args);
  process.exit(); // with the code that the benchmark has set
}

await main(process.argv[2], process.argv.slice(3));

export {};
