import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * A replica of a small service, to be killed: `bun chaos-replica.ts <port> <dir>`. What it does for a write is in `dir`
 * before it answers, shared with the other replica as a database would be. A line on its standard input says how it
 * misbehaves from then on: `well`, `resets`, `half-closes`, `stands-still`.
 */

const [port, dir] = process.argv.slice(2) as [string, string];
mkdirSync(join(dir, 'keys'), { recursive: true });

let manner = 'well';
createInterface({ input: process.stdin })
  .on('line', (line) => (manner = line))
  .on('close', () => process.exit(0));

/** One in so many requests meets the misbehaviour. */
const ONE_IN = 5;
let count = 0;

/** True: the connection is gone, there is nobody to answer. */
function misbehave(socket: Socket): boolean {
  if (manner === 'well' || ++count % ONE_IN !== 0) return false;
  if (manner === 'resets') socket.resetAndDestroy();
  else if (manner === 'half-closes') socket.end();
  return true;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const piece of request) body += piece;
  return body;
}

/** Once for each key, however often it comes; without a key each time it comes. */
function handle(id: string, key: string | undefined): void {
  if (key === undefined) return appendFileSync(join(dir, 'handled'), `${id}\n`);
  try {
    writeFileSync(join(dir, 'keys', key), id, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, Math.random() * 15));

const server = createServer(async (request, response) => {
  try {
    if (request.url === '/readyz') return void response.end('{"ready":true}');
    const body = await bodyOf(request);
    await pause();
    if (request.method === 'POST') handle(body, request.headers['idempotency-key'] as string | undefined);
    await pause();
    if (misbehave(request.socket)) return;
    response.writeHead(request.method === 'POST' ? 201 : 200, { 'content-type': 'text/plain' });
    response.end(request.method === 'POST' ? body : request.url);
  } catch {
    // Its client is gone.
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log('listening'));
