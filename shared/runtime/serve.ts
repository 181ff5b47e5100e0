/** The web-standard HTTP server of whichever runtime this is: the one place that knows Bun.serve and Deno.serve. */

export type FetchHandler = (request: Request) => Response | Promise<Response>;

export interface HttpServer {
  port: number;
  /** Takes no new connections, lets requests in hand finish for `graceMs`, then closes what is left. */
  stop(graceMs: number): Promise<void>;
}

export interface ServeOptions {
  hostname: string;
  /** 0 picks a free port. */
  port: number;
  fetch: FetchHandler;
}

interface DenoServer {
  addr: { port: number };
  shutdown(): Promise<void>;
}
interface DenoRuntime {
  serve(
    options: { hostname: string; port: number; onListen: () => void; signal: AbortSignal },
    handler: FetchHandler,
  ): DenoServer;
}

const deno = (globalThis as { Deno?: DenoRuntime }).Deno;

export function serve(options: ServeOptions): HttpServer {
  return deno ? serveOnDeno(deno, options) : serveOnBun(options);
}

function serveOnBun({ hostname, port, fetch }: ServeOptions): HttpServer {
  const server = Bun.serve({
    hostname,
    port,
    // The gateway limits bodies by route; a service must take what the gateway lets through.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    // None: Bun counts it from the start of an upload even while bytes flow (measured), so 255 s, the longest there
    // is, would cut long uploads. Slow clients are cut off by the gateway, which knows the route.
    idleTimeout: 0,
    fetch,
  });
  return {
    port: server.port ?? port,
    async stop(graceMs) {
      await withDeadline(server.stop(), graceMs, () => server.stop(true));
    },
  };
}

function serveOnDeno(runtime: DenoRuntime, { hostname, port, fetch }: ServeOptions): HttpServer {
  const abort = new AbortController();
  const server = runtime.serve({ hostname, port, onListen: () => {}, signal: abort.signal }, fetch);
  return {
    port: server.addr.port,
    async stop(graceMs) {
      await withDeadline(server.shutdown(), graceMs, async () => abort.abort());
    },
  };
}

/** Waits for `done` at most `ms`, then runs `force`. */
export async function withDeadline(done: Promise<unknown>, ms: number, force: () => unknown): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms);
  });
  const outcome = await Promise.race([
    done.then(
      () => 'done' as const,
      () => 'done' as const,
    ),
    late,
  ]);
  clearTimeout(timer);
  if (outcome === 'late') await force();
}
