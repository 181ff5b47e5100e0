import { AsyncLocalStorage } from 'node:async_hooks';
import { type Generated, type Kysely, sql } from 'kysely';
import { unavailable } from '../../errors.ts';
import { deadLetterQueue } from '../../events/topology.ts';
import type { BusMessage, EventBus, Subscription } from '../../ports/event-bus.ts';
import { DELIVERY_LIMIT, pauseAfter, platformTopology, queuesFor, type Topology } from './topology.ts';

/** One row per event and queue, in the order of publishing. It stays until a consumer has acknowledged it. */
export interface BusTables {
  messages: { id: Generated<number>; queue: string; content: string };
}

/** Rows read ahead for a queue. */
const READ_AHEAD = 128;
/** Milliseconds between looks at a queue that nobody has nudged. */
const POLL_MS = 1_000;

interface Row {
  id: number;
  content: string;
  attempts: number;
}

/**
 * The event bus of one process, durable in its own schema of the embedded database. One insert makes an event
 * safe, so a kill -9 loses nothing; who has what in hand is known in memory only, as no other process can use
 * this database. Messages left from an earlier run come as redelivered.
 */
export async function openInProcessBus(options: {
  db: Kysely<BusTables>;
  log: { error(fields: object, text: string): void };
  topology?: Topology;
  deliveryLimit?: number;
}): Promise<EventBus> {
  const { db, log, topology = platformTopology, deliveryLimit = DELIVERY_LIMIT } = options;
  await sql`create table if not exists messages (
    id int8 generated always as identity primary key, queue text not null, content text not null
  )`.execute(db);
  await sql`create index if not exists messages_queue on messages (queue, id)`.execute(db);
  const { rows } = await sql<{ last: number | null }>`select max(id) as last from messages`.execute(db);
  const queues = new Map<string, Queue>();
  for (const name of Object.keys(topology).flatMap((queue) => [queue, deadLetterQueue(queue)])) {
    queues.set(
      name,
      new Queue(name, {
        db,
        log,
        deliveryLimit,
        earlier: rows[0]?.last ?? 0,
        moved: (to) => queues.get(to)?.nudge(),
      }),
    );
  }
  let closed = false;

  return {
    async publish(event) {
      if (closed) throw unavailable('The event bus');
      const names = queuesFor(topology, event.name);
      if (names.length === 0) throw new Error(`No queue is bound to ${event.name}`);
      const content = JSON.stringify(event);
      // Values, not unnest: a statement whose plan is known by heart.
      await db
        .insertInto('messages')
        .values(names.map((queue) => ({ queue, content })))
        .execute();
      for (const name of names) queues.get(name)?.nudge();
    },
    async consume(name, handle, { prefetch = 16 } = {}) {
      const queue = queues.get(name);
      if (!queue) throw new Error(`There is no queue ${name}`);
      return queue.consume(handle, prefetch);
    },
    async ready() {
      if (closed) throw unavailable('The event bus');
    },
    async close() {
      closed = true;
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}

interface QueueOptions {
  db: Kysely<BusTables>;
  log: { error(fields: object, text: string): void };
  deliveryLimit: number;
  /** The last row that was there at start. */
  earlier: number;
  moved(queue: string): void;
}

interface Consumer {
  handle(message: BusMessage): Promise<void>;
  prefetch: number;
  inHand: Set<Promise<void>>;
}

class Queue {
  readonly #consumers: Consumer[] = [];
  /** Read and not yet handed out. */
  readonly #ready: Row[] = [];
  /** Rejected rows on their pause. */
  readonly #pausing = new Set<ReturnType<typeof setTimeout>>();
  /** Every row up to here has been read; ids rise in the order of commit, as there is one connection. */
  #read = 0;
  #reading: Promise<void> | undefined;
  #more = true;
  readonly #done: number[] = [];
  #deleting: Promise<void> | undefined;
  #poll: ReturnType<typeof setInterval> | undefined;
  /** Handlers must not run in the async context of whoever published. */
  readonly #outside = AsyncLocalStorage.snapshot();

  constructor(
    readonly name: string,
    readonly options: QueueOptions,
  ) {}

  nudge(): void {
    this.#more = true;
    this.#outside(() => this.#pump());
  }

  consume(handle: Consumer['handle'], prefetch: number): Subscription {
    const consumer: Consumer = { handle, prefetch, inHand: new Set() };
    this.#consumers.push(consumer);
    this.#poll ??= setInterval(() => this.nudge(), POLL_MS);
    this.nudge();
    return {
      stop: async () => {
        const index = this.#consumers.indexOf(consumer);
        if (index >= 0) this.#consumers.splice(index, 1);
        if (this.#consumers.length === 0) {
          clearInterval(this.#poll);
          this.#poll = undefined;
        }
        await Promise.allSettled(consumer.inHand);
        await this.#settleDeletes();
      },
    };
  }

  async close(): Promise<void> {
    const consumers = this.#consumers.splice(0);
    clearInterval(this.#poll);
    for (const timer of this.#pausing) clearTimeout(timer);
    await Promise.allSettled(consumers.flatMap((consumer) => [...consumer.inHand]));
    for (const timer of this.#pausing) clearTimeout(timer);
    await this.#reading;
    await this.#settleDeletes();
  }

  /** Gives rows to consumers with a free hand, and reads ahead while there is more. */
  #pump(): void {
    for (;;) {
      const consumer = this.#consumers.find((one) => one.inHand.size < one.prefetch);
      if (!consumer) return;
      const row = this.#ready.shift();
      if (!row) break;
      const work: Promise<void> = this.#deliver(consumer, row).finally(() => {
        consumer.inHand.delete(work);
        this.#pump();
      });
      consumer.inHand.add(work);
    }
    if (this.#more && this.#consumers.length > 0) this.#reading ??= this.#readAhead();
  }

  async #readAhead(): Promise<void> {
    try {
      this.#more = false;
      const rows = await this.options.db
        .selectFrom('messages')
        .select(['id', 'content'])
        .where('queue', '=', this.name)
        .where('id', '>', this.#read)
        .orderBy('id')
        .limit(READ_AHEAD)
        .execute();
      for (const row of rows) this.#ready.push({ ...row, attempts: 0 });
      this.#read = rows.at(-1)?.id ?? this.#read;
      if (rows.length === READ_AHEAD) this.#more = true;
    } catch (error) {
      this.options.log.error({ err: error, queue: this.name }, 'event bus: could not read the queue');
      return; // the next poll tries again
    } finally {
      this.#reading = undefined;
    }
    this.#pump();
  }

  async #deliver(consumer: Consumer, row: Row): Promise<void> {
    await Promise.resolve();
    try {
      await consumer.handle({
        content: row.content,
        redelivered: row.attempts > 0 || row.id <= this.options.earlier,
      });
    } catch {
      await this.#giveBack(row);
      return;
    }
    this.#done.push(row.id);
    this.#deleting ??= this.#deleteDone();
  }

  async #giveBack(row: Row): Promise<void> {
    row.attempts++;
    if (row.attempts > this.options.deliveryLimit && !this.name.endsWith('.dead')) {
      const queue = deadLetterQueue(this.name);
      try {
        // A new row: the dead-letter queue, too, is read in the order of ids.
        await sql`with gone as (delete from messages where id = ${row.id} returning content)
          insert into messages (queue, content) select ${queue}, content from gone`.execute(this.options.db);
        this.options.moved(queue);
        return;
      } catch (error) {
        this.options.log.error(
          { err: error, queue: this.name },
          'event bus: could not dead-letter a message',
        );
      }
    }
    const timer = setTimeout(() => {
      this.#pausing.delete(timer);
      this.#ready.unshift(row);
      this.#pump();
    }, pauseAfter(row.attempts));
    this.#pausing.add(timer);
  }

  /** Removes what was acknowledged meanwhile in one statement. A row that stays after a crash is a repeat for the inbox. */
  async #deleteDone(): Promise<void> {
    await Promise.resolve();
    while (this.#done.length > 0) {
      const ids = this.#done.splice(0);
      try {
        await sql`delete from messages where id = any(${ids}::int8[])`.execute(this.options.db);
      } catch (error) {
        this.options.log.error(
          { err: error, queue: this.name },
          'event bus: could not remove what was handled',
        );
        this.#done.push(...ids);
        break;
      }
    }
    this.#deleting = undefined;
  }

  async #settleDeletes(): Promise<void> {
    await this.#deleting;
    if (this.#done.length > 0) await this.#deleteDone();
  }
}
