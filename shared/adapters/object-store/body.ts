/**
 * The chunks of an upload. Throws what the body errors with, or the reason of `signal` as soon as it aborts,
 * even while the source is silent. Leaving early cancels the source.
 */
export async function* chunksOf(
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  // A cancelled reader's pending read ends at once, whatever its source does.
  const cancel = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener('abort', cancel, { once: true });
  let ended = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { value, done } = await reader.read();
      signal?.throwIfAborted();
      if (done) {
        ended = true;
        return;
      }
      if (value.byteLength > 0) yield value;
    }
  } finally {
    signal?.removeEventListener('abort', cancel);
    if (!ended) cancel();
  }
}
