import { existsSync, statSync } from 'node:fs';
import { waitFor } from '../../shared/wait-for.ts';
import { type PeerName, peerOf } from './peers.ts';
import { ask, type Session } from './session.ts';
import { LARGE_REPLY, PATHS, POST_BYTES, SMALL_REPLY } from './upstreams.ts';

/** Whether a peer answers as it should, before anything about it is measured. Rejects saying what is wrong. */
export async function checkPeer(session: Session, name: PeerName): Promise<void> {
  const [token = ''] = await session.mint.tokens();

  const small = await ask(session, name, PATHS.small, token);
  expect(small.status === 200 && (await small.text()) === SMALL_REPLY, `small reply: ${small.status}`);

  const large = await ask(session, name, PATHS.large, token);
  expect(LARGE_REPLY.equals(Buffer.from(await large.arrayBuffer())), `100 KB reply: ${large.status}`);

  const posted = await ask(session, name, PATHS.post, token, JSON.stringify('x'.repeat(POST_BYTES - 2)));
  const received = await posted.text();
  expect(received === `{"received":${POST_BYTES}}`, `POST: ${posted.status} ${received.slice(0, 200)}`);

  if (peerOf(name).checksToken) {
    const limit = [...small.headers.keys()].some((header) => header.includes('ratelimit'));
    expect(limit, 'no header tells of a limit');
    const [header, claims, signature = ''] = token.split('.');
    const forged = [header, claims, signature.split('').reverse().join('')].join('.');
    for (const [what, refused] of [
      ['no token', undefined],
      ['a forged token', forged],
    ] as const) {
      const reply = await ask(session, name, PATHS.small, refused);
      await reply.text();
      expect(reply.status === 401, `${what}: ${reply.status} instead of 401`);
    }
  }

  const log = session.running.get(name)?.accessLog;
  if (log !== undefined) {
    await waitFor(
      `a line in the access log of ${name}`,
      async () => expect(existsSync(log) && statSync(log).size > 0, 'empty'),
      5_000,
    );
  }
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
