/** A GET to an upstream for our own use. Rejects after `timeoutMs` or on any status but 200. */
export async function probe(url: string, timeoutMs: number): Promise<Response> {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' });
  if (response.status === 200) return response;
  await response.body?.cancel();
  throw new Error(`status ${response.status}`);
}
