import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from './backend.ts';
import type { Command } from './process.ts';

/** How to start our own mail catcher, by the runtime that runs this. */
export async function prepareSmtp({ dir, state }: Context): Promise<Command> {
  const folder = join(dir, 'smtp');
  mkdirSync(folder, { recursive: true });
  const main = join(import.meta.dirname, '..', 'mail-catcher', 'main.ts');
  return {
    file: process.execPath,
    args: process.versions.deno ? ['run', '--allow-all', main] : [main],
    cwd: folder,
    env: {
      SMTP_PORT: String(state.ports.smtp),
      HTTP_PORT: String(state.ports['smtp.http']),
      MAIL_DIR: join(folder, 'mails'),
    },
  };
}
