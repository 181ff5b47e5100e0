import type { RowList } from 'postgres';
import { unavailable } from '../../errors.ts';
import { Client, type ClientSettings } from './postgres-pool.ts';

/** Milliseconds that a transaction waits for a connection before it is refused. */
const ACQUIRE_MS = 5_000;
/** A connection is renewed after this, in milliseconds, for the sake of the server's memory. */
const MAX_AGE_MS = 30 * 60_000;

/**
 * One connection for one transaction at a time: a client with `max: 1`, so that a lost connection is noticed at
 * once and no later statement slips onto a new connection, outside of the transaction. (postgres.js's `reserve`
 * loses a connection for good when its connect fails, and its `begin` takes every failed statement as fatal.)
 */
export class TransactionClient {
  #state: 'idle' | 'open' | 'lost' = 'idle';
  #since = performance.now();
  readonly #client: Client;

  constructor(settings: ClientSettings) {
    const lose = () => {
      if (this.#state === 'open') this.#state = 'lost';
    };
    this.#client = new Client({ ...settings, max: 1 }, lose);
  }

  async begin(statement: string): Promise<void> {
    this.#state = 'open';
    await this.#client.run(statement, [], true);
  }

  async run<R>(text: string, parameters: readonly unknown[], prepare: boolean): Promise<RowList<R[]>> {
    if (this.#state !== 'open')
      throw unavailable('The database', new Error('The connection of the transaction was lost'));
    return await this.#client.run<R>(text, parameters, prepare);
  }

  /** Resolves to what the server says it did. */
  async end(statement: 'commit' | 'rollback'): Promise<string> {
    const { command } = await this.run(statement, [], true);
    this.#state = 'idle';
    return command;
  }

  /** False once it was ended, or its connection was lost: the server has rolled back then. */
  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Ready for the next transaction. One that was not ended goes with its connection. */
  recycle(): void {
    const old = performance.now() - this.#since > MAX_AGE_MS;
    if (this.#state !== 'idle' || old) {
      this.#client.reset();
      this.#since = performance.now();
    }
    this.#state = 'idle';
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** Up to `settings.max` of them, handed out in order of asking. */
export class TransactionClients {
  readonly #idle: TransactionClient[] = [];
  readonly #all: TransactionClient[] = [];
  readonly #waiting: ((client: TransactionClient) => void)[] = [];

  constructor(readonly settings: ClientSettings) {}

  /** Rejects with 503 `upstream-unavailable` after 5 s of waiting. */
  async take(): Promise<TransactionClient> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    if (this.#all.length < this.settings.max) {
      const client = new TransactionClient(this.settings);
      this.#all.push(client);
      return client;
    }
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(given), 1);
        reject(unavailable('The database', new Error(`No connection became free within ${ACQUIRE_MS} ms`)));
      }, ACQUIRE_MS);
      const given = (client: TransactionClient) => {
        clearTimeout(timer);
        resolve(client);
      };
      this.#waiting.push(given);
    });
  }

  give(client: TransactionClient): void {
    client.recycle();
    const next = this.#waiting.shift();
    if (next) next(client);
    else this.#idle.push(client);
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.close()));
  }
}
