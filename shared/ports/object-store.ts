/** Keeps bytes under keys; an object is there whole or not at all. */
export interface ObjectStore {
  /**
   * Streams `body` to `key` with bounded memory. Rejects if the body errors or `signal` aborts, and then
   * nothing is left behind. Keys are unique per upload: an existing key is never overwritten on purpose.
   */
  put(
    key: string,
    body: ReadableStream<Uint8Array>,
    options?: { contentType?: string; signal?: AbortSignal },
  ): Promise<{ size: number }>;
  /** The bytes, or bytes `start`…`end` inclusive. Rejects with a not-found Problem. Cancelling the stream frees everything. */
  get(key: string, range?: { start: number; end: number }): Promise<ReadableStream<Uint8Array>>;
  /** Size in bytes, or undefined when there is no such object. */
  size(key: string): Promise<number | undefined>;
  /** Removes the object and whatever an interrupted put left under this key. Fine if there is nothing. */
  delete(key: string): Promise<void>;
  /** Rejects when the store can't be reached. */
  ready(): Promise<void>;
  close(): Promise<void>;
}
