import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { io } from 'socket.io-client';
import type { Message } from '../../shared/contracts/chat.ts';
import { type TcpProxy, tcpProxy } from '../../shared/testing/tcp-proxy.ts';
import { ChatClient } from '../../shared/web/chat-client.ts';
import { openSchool, startChat, until, type World } from './test-school.ts';

setDefaultTimeout(60_000);

/** The client of shared/web against the real service. */

let world: World;
let way: TcpProxy;
beforeAll(async () => {
  world = await startChat(1000);
  way = await tcpProxy(world.url);
});
afterAll(async () => {
  way.close();
  await world.stop();
});

const backOff = { first: 20, most: 100 };

test('two clients, one of whose way is cut again and again: each message once, in order, as in the store', async () => {
  const { roomId, teacher, learner } = await openSchool(world);
  const ada = new ChatClient({ io, url: way.url, token: () => teacher.token, backOff });
  const ben = new ChatClient({ io, url: world.url, token: () => learner.token, backOff });
  const seen = { ada: [] as number[], ben: [] as number[] };
  ada.on('message', ({ seq }) => seen.ada.push(seq));
  ben.on('message', ({ seq }) => seen.ben.push(seq));
  // Sent before there is a connection, too.
  const sent = Array.from({ length: 80 }, (_, n) => ada.send({ roomId, clientId: `a-${n}`, body: `${n}` }));
  const [adasRoom, bensRoom] = await Promise.all([ada.join(roomId), ben.join(roomId)]);
  for (let n = 0; n < 10; n++) {
    const message = await ben.send({ roomId, body: `Ben ${n}` });
    await ben.ask('reaction:add', { messageId: message.id, emoji: '🎉' });
    way.cut();
    await ben.ask('message:edit', { messageId: message.id, body: `Ben again ${n}` });
    if (n % 3 === 0) await ben.ask('message:delete', { messageId: message.id });
    await until(() => ada.connected);
  }
  const acknowledged = await Promise.all(sent);
  expect(acknowledged.map(({ clientId }) => clientId)).toEqual(sent.map((_, n) => `a-${n}`));
  expect(acknowledged.map(({ seq }) => seq)).toEqual(
    acknowledged.map(({ seq }) => seq).sort((a, b) => a - b),
  );

  const stored = async (as = learner): Promise<Message[]> => {
    const { body } = await world.call('GET', `/api/chat/rooms/${roomId}/messages?after=0&limit=100`, { as });
    return body.items;
  };
  const wanted = Array.from({ length: 90 }, (_, n) => n + 1);
  await until(() => adasRoom.seq === 90 && bensRoom.seq === 90, 30_000);
  const { lastChange } = (await world.call('GET', `/api/chat/rooms/${roomId}`, { as: learner })).body;
  await until(() => adasRoom.change === lastChange && bensRoom.change === lastChange, 10_000);
  expect(seen.ben).toEqual(wanted.slice(wanted.indexOf(seen.ben[0]!)));
  expect(seen.ada).toEqual(wanted.slice(wanted.indexOf(seen.ada[0]!)));
  expect(bensRoom.messages).toEqual((await stored()).slice(-bensRoom.messages.length));
  expect(adasRoom.messages).toEqual((await stored(teacher)).slice(-adasRoom.messages.length));
  ada.close();
  ben.close();
});

test('a token that runs out is handed over on the open connection', async () => {
  const { roomId, learner } = await openSchool(world);
  const about = { userId: learner.userId, name: 'Ben' };
  const late = await world.signIn({ ...about, expiresIn: 2 });
  const fresh = await world.signIn({ ...about, expiresIn: 600 });
  const ben = new ChatClient({ io, url: world.url, token: (renew) => (renew ? fresh : late).token, backOff });
  const states: string[] = [];
  ben.on('state', (state) => states.push(state));
  await ben.join(roomId);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect((await ben.send({ roomId, body: 'Still here' })).seq).toBe(1);
  expect(states).toEqual(['online']);
  ben.close();
});
