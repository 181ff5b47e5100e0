/**
 * Relays messages over bare WebSockets, in the words of Socket.IO so that the load generator can be the same: nothing is
 * parsed, checked or stored. What it reaches is the limit of the machine, the load generator's own included.
 */
let seq = 0;
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, self) => (self.upgrade(request) ? undefined : new Response('a WebSocket is due')),
  websocket: {
    open(ws) {
      ws.subscribe('room');
      ws.send('0{}');
    },
    message(ws, frame) {
      const text = String(frame);
      if (text.startsWith('40')) return void ws.send('40{}');
      const bracket = text.indexOf('[');
      const id = text.slice(2, bracket);
      if (text.startsWith('["room:join"', bracket))
        return void ws.send(`43${id}[{"ok":true,"lastSeq":${seq}}]`);
      const at = text.indexOf('"body":"') + 8;
      const message = `{"seq":${++seq},"body":"${text.slice(at, text.indexOf('"', at))}","filler":"${FILLER}"}`;
      server.publish('room', `42["message",${message}]`);
      ws.send(`43${id}[{"ok":true,"message":${message}}]`);
    },
    // A client that sends and never reads is none of ours.
    backpressureLimit: 64 * 1024 * 1024,
  },
});
/** As long as what our messages have besides. */
const FILLER = 'x'.repeat(360);
console.log(`ready ${server.port}`);
