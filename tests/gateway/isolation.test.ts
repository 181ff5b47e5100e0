import { afterEach, describe, expect, test } from 'bun:test';
import { eventually } from '../../gateway/testing.ts';
import { only, type ResponseMessage } from './messages.ts';
import { AUTH, answering, get, HOST, ok, post, type RawClient, startedOnWire, UPLOAD_PATH } from './wire.ts';

/** One slow service never slows another, and takes no more of the gateway than its share. */

const { stopAll, rawUpstream, gatewayProcess, client } = startedOnWire();
afterEach(stopAll);

const LOGIN = `POST /api/auth/login HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\n{}`;
const SESSIONS = `GET /api/auth/sessions HTTP/1.1\r\n${HOST}${AUTH}\r\n`;
const COURSES = get('/api/content/courses');
const MiB = 1024 ** 2;

/** Sends calls to auth over some connections until `over`, and tells the statuses that came. */
async function callAuth(port: number, over: () => boolean): Promise<Record<number, number>> {
  const statuses: Record<number, number> = {};
  await Promise.all(
    Array.from({ length: 8 }, async (_, who) => {
      const one = await client(port);
      while (!over()) {
        const { status } = await one.ask(who % 2 === 0 ? LOGIN : SESSIONS);
        statuses[status] = (statuses[status] ?? 0) + 1;
        await Bun.sleep(5);
      }
    }),
  );
  return statuses;
}

describe('content stands still', () => {
  test('with hundreds of reads and uploads in hand: every call to auth is answered, none refused', async () => {
    const auth = await rawUpstream(answering(() => ok()));
    const size = 8 * MiB;
    let standing = true;
    const content = await rawUpstream(async (peer) => {
      // Takes connections, reads nothing more and says nothing.
      peer.socket.pause();
      while (standing) await Bun.sleep(50);
      const head = await peer.head();
      peer.keeping = false;
      peer.socket.resume();
      const whole = head.length + (head.startsWith('POST') ? size : 0);
      await peer.wait('the whole', () => (peer.heardBytes === whole ? true : undefined), 30_000);
      await peer.send(ok());
    });
    const door = await gatewayProcess({ upstreams: { auth: auth.url, content: content.url } });
    const before = door.memory().now;
    const readers: RawClient[] = [];
    const uploaders: RawClient[] = [];
    for (let n = 0; n < 400; n++) readers.push(await client(door.port));
    for (let n = 0; n < 100; n++) uploaders.push(await client(door.port));
    for (const one of readers) void one.send(COURSES);
    for (const one of uploaders) {
      void one.send(post(UPLOAD_PATH, `Content-Length: ${size}\r\n`));
      void one.send(Buffer.alloc(size));
    }
    await eventually(() => content.peers.length >= 500, 20_000);

    let over = false;
    setTimeout(() => (over = true), 2_000);
    const statuses = await callAuth(door.port, () => over);
    expect(Object.keys(statuses)).toEqual(['200']);
    expect(statuses[200]).toBeGreaterThan(100);
    // 800 MiB of uploads wait at their clients, not here.
    expect(door.memory().most - before).toBeLessThan(250);

    standing = false;
    for (const one of readers) expect((await one.reply('GET', 20_000)).status).toBe(200);
    for (const one of uploaders) expect((await one.reply('POST', 20_000)).status).toBe(200);
    expect(content.faults).toEqual([]);
    expect(door.complaints()).toBe('');
  }, 90_000);

  test('what is past its share is refused: 503 with Retry-After, at once or after a short wait, and nobody else is', async () => {
    const auth = await rawUpstream(answering(() => ok()));
    let release: () => void = () => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const content = await rawUpstream(
      answering(async () => {
        await released;
        return ok();
      }),
    );
    const share = 40;
    const queue = 512;
    const door = await gatewayProcess({
      upstreams: { auth: auth.url, content: content.url },
      env: { UPSTREAM_CONTENT_MAX_IN_FLIGHT: String(share) },
    });
    const held = await Promise.all(Array.from({ length: share }, () => client(door.port)));
    for (const one of held) await one.send(COURSES);
    await eventually(() => content.requests.length === share);

    const crowd: RawClient[] = [];
    while (crowd.length < queue + 100)
      crowd.push(...(await Promise.all(Array.from({ length: 102 }, () => client(door.port)))));
    let over = false;
    const calls = callAuth(door.port, () => over);
    for (const one of crowd) void one.send(COURSES);
    const replies: ResponseMessage[] = await Promise.all(crowd.map((one) => one.reply()));
    over = true;
    for (const reply of replies) {
      expect([reply.status, JSON.parse(String(reply.body)).code]).toEqual([503, 'upstream-unavailable']);
      expect(Number(only(reply.headers, 'retry-after'))).toBeGreaterThan(0);
    }
    expect(Object.keys(await calls)).toEqual(['200']);
    expect(content.requests).toHaveLength(share);

    release();
    for (const one of held) expect((await one.reply()).status).toBe(200);
    // The connections of those who were refused are as good as before, and so is the service.
    for (const one of crowd.slice(0, 50)) expect((await one.ask(COURSES)).status).toBe(200);
  }, 60_000);
});
