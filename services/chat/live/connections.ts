import type { Connection } from './connection.ts';

/** A process that stops lets so many connections go a second, so that the others are not overrun. */
const MOVED_PER_SECOND = 2_000;
const SLICE_MS = 50;
/** Open sockets of one person on this process, both namespaces together: devices and tabs, not a flood. */
export const MOST_OF_USER = 100;

export interface SessionEnd {
  /** One session, or all of a user. */
  sessionId?: string | undefined;
  userId?: string | undefined;
  reason: string;
}

/** The open connections of this process, in any namespace. */
export class Connections {
  readonly #open = new Set<Connection>();
  readonly #ofUser = new Map<string, number>();

  add(connection: Connection): void {
    this.#open.add(connection);
    const { userId } = connection.caller;
    this.#ofUser.set(userId, this.openOf(userId) + 1);
  }

  remove(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    const { userId } = connection.caller;
    const left = this.openOf(userId) - 1;
    if (left > 0) this.#ofUser.set(userId, left);
    else this.#ofUser.delete(userId);
  }

  /** How many sockets a user has open here. */
  openOf(userId: string): number {
    return this.#ofUser.get(userId) ?? 0;
  }

  /** Tells those of a session, or all of a user, that it is over, and closes them. */
  end({ sessionId, userId, reason }: SessionEnd): void {
    for (const connection of [...this.#open]) {
      const { caller } = connection;
      if (caller.sessionId === sessionId || caller.userId === userId) connection.end(reason);
    }
  }

  /** Ends those whose tokens have run out. Called regularly. */
  async endExpired(): Promise<void> {
    const now = Date.now();
    for (const connection of this.#open) connection.endIfExpired(now);
  }

  /**
   * Moves all clients elsewhere before the process stops: each is answered what it has under way, then its
   * connection closes and it connects again. Spread over seconds, at most half of `graceMs`.
   */
  async drain(graceMs: number): Promise<void> {
    const all = [...this.#open];
    const slices = Math.ceil(Math.min(graceMs / 2, (all.length / MOVED_PER_SECOND) * 1_000) / SLICE_MS);
    const size = Math.ceil(all.length / Math.max(1, slices));
    const retiring: Promise<void>[] = [];
    for (let start = 0; start < all.length; start += size) {
      if (start > 0) await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
      for (const connection of all.slice(start, start + size)) retiring.push(connection.retire());
    }
    await Promise.all(retiring);
  }
}
