/**
 * The upstream for sockets: what a member of a room says goes to everybody in the room. Prints its port. Each is told
 * when it has joined, because a proxy may say yes to its client before it has asked the upstream.
 */
const server = Bun.serve<{ room: string }>({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, server) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/readyz' || pathname === '/healthz') return new Response('{}');
    if (server.upgrade(request, { data: { room: searchParams.get('room') ?? '' } })) return undefined;
    return new Response('{}', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      socket.subscribe(socket.data.room);
      socket.send('joined');
    },
    message(socket, message) {
      server.publish(socket.data.room, message);
    },
  },
});
console.log(server.port);

export {};
