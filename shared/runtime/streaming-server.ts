import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type FetchHandler, type HttpServer, type ServeOptions, serve, withDeadline } from './serve.ts';

/**
 * The server of a service that sends large bodies. `Bun.serve` takes Content-Length from every streamed reply and
 * sends it chunked (oven-sh/bun#10507, 1.4.5), so a download would have no length; Bun's `node:http` keeps it.
 * Deno's own server keeps it, too.
 */
export async function serveStreams(options: ServeOptions): Promise<HttpServer> {
  if ('Deno' in globalThis) return serve(options);
  const open = new Set<Socket>();
  // Seconds to wait are the gateway's to decide, which knows the routes; 255 s as in `serve`.
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 255_000 });
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  server.on('request', (request, response) => void answer(options.fetch, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.hostname, () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    async stop(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      await withDeadline(closed, graceMs, () => {
        server.closeAllConnections();
        for (const socket of open) socket.destroy();
      });
    },
  };
}

async function answer(
  fetch: FetchHandler,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort(new DOMException('The client has gone', 'AbortError'));
  });
  response.on('error', () => {}); // `close` follows
  request.on('error', () => {});
  try {
    await send(await fetch(toRequest(request, gone.signal)), request, response);
  } catch {
    // Too late for an error page: the client must see that the reply was cut.
    if (response.headersSent) response.destroy();
    else response.writeHead(400, { connection: 'close' }).end();
  }
}

function toRequest(request: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) {
    headers.append(request.rawHeaders[at]!, request.rawHeaders[at + 1]!);
  }
  const method = request.method ?? 'GET';
  const hasBody = headers.has('transfer-encoding') || Number(headers.get('content-length') ?? 0) > 0;
  return new Request(new URL(request.url ?? '/', `http://${headers.get('host') || 'localhost'}`), {
    method,
    headers,
    signal,
    ...(hasBody && method !== 'GET' && method !== 'HEAD' ? { body: bodyOf(request), duplex: 'half' } : {}),
  } as RequestInit);
}

/** The body as it is read: the connection is paused while 256 KiB wait. Errors if the client hangs up before the end. */
function bodyOf(request: IncomingMessage): ReadableStream<Uint8Array> {
  let done = false;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const finish = (error?: Error) => {
          if (done) return;
          done = true;
          if (error) controller.error(error);
          else controller.close();
        };
        request.on('data', (chunk: Uint8Array) => {
          if (done) return;
          controller.enqueue(chunk);
          if ((controller.desiredSize ?? 0) <= 0) request.pause();
        });
        request.once('end', () => finish());
        request.once('aborted', () => finish(new Error('The client hung up')));
        request.once('error', (error) => finish(error));
        request.once('close', () => finish(request.complete ? undefined : new Error('The client hung up')));
      },
      pull() {
        request.resume();
      },
      cancel() {
        done = true;
        request.pause();
      },
    },
    { highWaterMark: 256 * 1024, size: (chunk) => chunk?.byteLength ?? 0 },
  );
}

async function send(reply: Response, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers: Record<string, string | string[]> = Object.fromEntries(reply.headers);
  const cookies = reply.headers.getSetCookie();
  if (cookies.length > 0) headers['set-cookie'] = cookies;
  // Nobody will read the rest of a body that was refused: the connection can't be used again.
  if (!request.complete) headers.connection = 'close';

  if (request.method === 'HEAD' || reply.body === null) {
    await reply.body?.cancel();
    response.writeHead(reply.status, headers).end();
    return;
  }
  // A JSON reply of a handler; a file that happens to be JSON says its length itself, and may be large.
  if (!reply.headers.has('content-length') && reply.headers.get('content-type')?.includes('json')) {
    const bytes = new Uint8Array(await reply.arrayBuffer());
    response.writeHead(reply.status, { ...headers, 'content-length': String(bytes.byteLength) }).end(bytes);
    return;
  }
  response.writeHead(reply.status, headers);
  await pour(reply.body, response);
}

/** Writes at the reader's pace. The source is let go when the reader has gone. */
async function pour(source: ReadableStream<Uint8Array>, response: ServerResponse): Promise<void> {
  const reader = source.getReader();
  let wake = () => {};
  let closed = false;
  response.on('drain', () => wake());
  response.once('close', () => {
    closed = true;
    wake();
  });
  let ended = false;
  try {
    while (!closed) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        response.end();
        return;
      }
      if (closed) return;
      const room = response.write(value);
      if (!room && !closed) await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
  }
}
