import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { Kysely } from 'kysely';
import { openPglite } from '../adapters/database/pglite.ts';
import { openMemoryStore } from '../adapters/ephemeral-store/memory.ts';
import { openInProcessBus } from '../adapters/event-bus/in-process.ts';
import { openFiles } from '../adapters/object-store/files.ts';
import { localSocketAdapter } from '../adapters/socket-adapter/local.ts';
import { AUDIENCE, type Caller, createTokenVerifier, ISSUER, localKeys } from '../auth/tokens.ts';
import type { Role } from '../contracts/common.ts';
import type { EventData, EventEnvelope, EventName } from '../contracts/events.ts';
import type { KernelTables } from '../db/kernel.ts';
import { QUEUE_NAMES, QUEUES } from '../events/topology.ts';
import { newId } from '../ids.ts';
import { createLog, silentLog } from '../observability/log.ts';
import { createMetrics } from '../observability/metrics.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { Mail } from '../ports/mailer.ts';
import { type Service, type ServiceDeps, startService } from '../service.ts';

export interface TestUser {
  userId: string;
  token: string;
  caller: Caller;
  headers: { authorization: string };
}

export interface TestReply {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into JSON of many shapes
  body: any;
  headers: Headers;
}

export interface CallOptions {
  as?: TestUser;
  /** Sent as JSON, unless it is a string, bytes or a stream. */
  body?: unknown;
  headers?: Record<string, string>;
}

export interface TestService<S extends KernelTables> {
  url: string;
  db: Kysely<S>;
  deps: ServiceDeps<S>;
  mails: Mail[];
  signIn(user?: {
    role?: Role;
    name?: string;
    userId?: string;
    sessionId?: string;
    expiresIn?: number;
  }): Promise<TestUser>;
  call(method: string, path: string, options?: CallOptions): Promise<TestReply>;
  /** Publishes an event as another service would, and waits until this service has handled it. */
  emit<N extends EventName>(
    name: N,
    data: EventData<N>,
    about?: { actor?: string; subject?: string; id?: string; at?: string },
  ): Promise<EventEnvelope>;
  /** Events this service has put in its outbox, relayed or not, oldest first; waits up to 2 s for the first. */
  published(name: EventName): Promise<EventEnvelope[]>;
  announceStop(): void;
  stop(): Promise<void>;
}

/**
 * One service on the embedded adapters, with real HTTP on loopback: the harness of all service tests.
 * Set `LYCEUM_TEST_LOG=debug` to see its log.
 */
export async function startTestService<S extends KernelTables>(
  factory: (deps: ServiceDeps<S>) => Promise<Service<S>>,
): Promise<TestService<S>> {
  const level = process.env.LYCEUM_TEST_LOG;
  const log = level ? createLog('test', level as 'debug') : silentLog;
  const dir = await mkdtemp(join(tmpdir(), 'lyceum-test-'));
  const pglite = await openPglite(undefined);
  const bus = await openInProcessBus({ db: await pglite.database('bus'), log });
  const watched = watchDeliveries(bus);
  const ephemeral = openMemoryStore();
  const objects = await openFiles(join(dir, 'objects'));
  const keys = await generateKeyPair('EdDSA', { extractable: true });
  const publicKey = { ...(await exportJWK(keys.publicKey)), kid: 'test', alg: 'EdDSA' };
  const mails: Mail[] = [];

  const tokens = createTokenVerifier(localKeys({ keys: [publicKey] }), ephemeral);

  const deps = {
    bus: watched.bus,
    objects,
    ephemeral,
    mailer: {
      send: async (mail: Mail) => void mails.push(mail),
      ready: async () => {},
      close: async () => {},
    },
    socketAdapter: localSocketAdapter,
    tokens,
    log,
    metrics: createMetrics('test'),
    settings: {
      publicUrl: 'http://localhost:8080',
      version: '0.0.0',
      limitScale: 1,
      accessTokenSeconds: 600,
    },
    db: await pglite.database<S>('service'),
  } satisfies ServiceDeps<S>;
  const service = await factory(deps);
  const running = await startService(service, deps, { hostname: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${running.port}`;

  return {
    url,
    db: deps.db,
    deps,
    mails,
    async signIn({
      role = 'learner',
      name = 'Test User',
      userId = newId(),
      sessionId = newId(),
      expiresIn = 600,
    } = {}) {
      const expiresAt = Math.floor(Date.now() / 1000) + expiresIn;
      const token = await new SignJWT({ sid: sessionId, role, name })
        .setProtectedHeader({ alg: 'EdDSA', kid: 'test' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(userId)
        .setIssuedAt(expiresAt - 600)
        .setExpirationTime(expiresAt)
        .sign(keys.privateKey);
      const caller: Caller = { userId, sessionId, role, name, expiresAt };
      return { userId, token, caller, headers: { authorization: `Bearer ${token}` } };
    },
    call: (method, path, options) => callJson(url, method, path, options),
    emit: (name, data, about = {}) =>
      watched.publish({
        id: about.id ?? newId(),
        name,
        version: 1,
        at: about.at ?? new Date().toISOString(),
        actor: about.actor ?? 'system',
        subject: about.subject ?? newId(),
        traceparent: null,
        data,
      }),
    async published(name) {
      const kernel = deps.db as unknown as Kysely<KernelTables>;
      for (const deadline = Date.now() + 2_000; ; ) {
        const rows = await kernel.selectFrom('outbox').select('envelope').where('name', '=', name).execute();
        // What is gone from the outbox meanwhile has been relayed.
        const all = [...rows.map((row) => row.envelope as EventEnvelope), ...watched.relayed];
        const found = new Map(all.flatMap((event) => (event.name === name ? [[event.id, event]] : [])));
        if (found.size > 0 || Date.now() > deadline)
          return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    announceStop: running.announceStop,
    async stop() {
      await running.stop(2_000);
      await bus.close();
      await tokens.close();
      await ephemeral.close();
      await objects.close();
      await pglite.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** One HTTP call as a test makes it; JSON bodies are encoded and decoded. */
export async function callJson(
  url: string,
  method: string,
  path: string,
  { as, body, headers = {} }: CallOptions = {},
): Promise<TestReply> {
  const raw =
    typeof body === 'string' ||
    body instanceof Uint8Array ||
    body instanceof ReadableStream ||
    body instanceof Blob ||
    body instanceof FormData;
  const response = await fetch(url + path, {
    method,
    redirect: 'manual',
    headers: {
      ...(body !== undefined && !raw ? { 'content-type': 'application/json' } : {}),
      ...as?.headers,
      ...headers,
    },
    ...(body === undefined ? {} : { body: raw ? (body as BodyInit) : JSON.stringify(body) }),
  });
  const json = /\bjson\b/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    body: json ? await response.json() : await response.text(),
    headers: response.headers,
  };
}

/** Lets a test wait until an event has been handled by every queue that this service consumes. */
function watchDeliveries(bus: EventBus): {
  bus: EventBus;
  /** What the service has published. */
  relayed: EventEnvelope[];
  publish(event: EventEnvelope): Promise<EventEnvelope>;
} {
  const consumed = new Set<string>();
  const handled = new Map<string, () => void>();
  const relayed: EventEnvelope[] = [];
  return {
    relayed,
    bus: {
      ...bus,
      async publish(event) {
        await bus.publish(event);
        relayed.push(event);
      },
      ready: () => bus.ready(),
      close: () => bus.close(),
      consume(queue, handle, options) {
        consumed.add(queue);
        return bus.consume(
          queue,
          async (message) => {
            await handle(message);
            handled.get(`${queue} ${(JSON.parse(message.content) as { id: string }).id}`)?.();
          },
          options,
        );
      },
    },
    async publish(event) {
      const queues = QUEUE_NAMES.filter(
        (queue) => consumed.has(queue) && (QUEUES[queue] as readonly string[]).includes(event.name),
      );
      const done = queues.map(
        (queue) => new Promise<void>((resolve) => handled.set(`${queue} ${event.id}`, resolve)),
      );
      await bus.publish(event);
      await Promise.race([
        Promise.all(done),
        new Promise((_, reject) =>
          setTimeout(() => reject(new Error(`${event.name} was not handled within 10 s`)), 10_000),
        ),
      ]);
      return event;
    },
  };
}
