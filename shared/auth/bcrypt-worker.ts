import { compareSync, hashSync } from 'bcryptjs';

/** Runs on a worker: one hash takes some 50 ms of a core. */
export type BcryptInput = { hash: string; cost: number } | { compare: string; with: string };

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<BcryptInput>) => void;
  postMessage(answer: unknown): void;
};

scope.onmessage = ({ data }) => {
  try {
    const value = 'hash' in data ? hashSync(data.hash, data.cost) : compareSync(data.compare, data.with);
    scope.postMessage({ ok: true, value });
  } catch (error) {
    scope.postMessage({ ok: false, error: String(error) });
  }
};
