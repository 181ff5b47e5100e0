// Plain Socket.IO as its documentation shows it, with the Redis adapter: no rights, no storage, no numbers across
// processes. On Node: `node peer.mjs`; on Bun: `bun peer.mjs`, or `bun peer.mjs engine` on Socket.IO's engine for Bun.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-adapter';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

const { REDIS_URL, ENGINE } = process.env;
const io = new Server({ serveClient: false });
if (REDIS_URL) io.adapter(createAdapter(new Redis(REDIS_URL), new Redis(REDIS_URL)));

const numbers = new Map();
io.on('connection', (socket) => {
  const author = { id: randomUUID(), displayName: 'Somebody' };
  socket.on('room:join', ({ roomId }, ack) => {
    socket.join(roomId);
    ack({ ok: true, lastSeq: numbers.get(roomId) ?? 0 });
  });
  socket.on('message:send', ({ roomId, clientId, body }, ack) => {
    const seq = (numbers.get(roomId) ?? 0) + 1;
    numbers.set(roomId, seq);
    // As large as ours, so that both move the same bytes.
    const message = {
      id: randomUUID(),
      roomId,
      seq,
      changeSeq: 0,
      clientId,
      author,
      body,
      mentions: [],
      replyTo: null,
      attachments: [],
      reactions: [],
      createdAt: new Date().toISOString(),
      editedAt: null,
      deletedAt: null,
    };
    io.to(roomId).emit('message', message);
    ack({ ok: true, message });
  });
});

if (ENGINE === 'bun') {
  const { Server: Engine } = await import('@socket.io/bun-engine');
  const engine = new Engine({ path: '/socket.io/' });
  io.bind(engine);
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, ...engine.handler() });
  console.log(`ready ${server.port}`);
} else {
  const http = createServer();
  io.attach(http, { transports: ['websocket'] });
  http.listen(0, '127.0.0.1', () => console.log(`ready ${http.address().port}`));
}
