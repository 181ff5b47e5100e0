import type { UpstreamPool } from './proxy/upstreams.ts';

/** A GET to an upstream for our own use. Rejects after `timeoutMs` or on any status but 200. */
export async function probe(url: string, timeoutMs: number): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' });
  if (response.status === 200) return response;
  await response.body?.cancel();
  throw new Error(`status ${response.status}`);
}

export interface DependencyState {
  ok: boolean;
  /** Per replica, for services. */
  replicas?: Record<string, 'ready' | 'not ready' | 'no answer'>;
}

/** A service is there when one replica is. Each is asked side by side, at most 2 s. */
export async function probePool(pool: UpstreamPool): Promise<DependencyState> {
  const states = await Promise.all(
    pool.addresses.map(async ({ host }) => {
      const state = await probe(`http://${host}/readyz`, 2_000).then(
        async (response) => {
          await response.body?.cancel();
          return 'ready' as const;
        },
        (error: Error) =>
          error.message.startsWith('status') ? ('not ready' as const) : ('no answer' as const),
      );
      return [host, state] as const;
    }),
  );
  return { ok: states.some(([, state]) => state === 'ready'), replicas: Object.fromEntries(states) };
}
