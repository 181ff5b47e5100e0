import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';

const SET = 'chat:online';
const CHANNEL = 'chat:presence';
/** A process that dies takes its users offline after this long. */
const TTL_MS = 45_000;
/** Who comes back within this time was never away: a reload is no news. */
const LEAVE_DELAY_MS = 1_500;
/** Changes are gathered for this long, so that a class that comes in together is told at once. */
const GATHER_MS = 100;
const AT_ONCE = 100;

interface Change {
  userId: string;
  node: string;
  online: boolean;
}

/**
 * Who is connected, to whichever process. Each process says who is here to the ephemeral store, hears of changes
 * from the others and compares with the store regularly, so that a process that died is noticed. While the
 * store is away the board knows its own users only.
 */
export class PresenceBoard {
  /** Processes on which each online user is. */
  readonly #nodes = new Map<string, Set<string>>();
  readonly #sockets = new Map<string, number>();
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #told = new Map<string, boolean>();
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #stopListening: () => Promise<void> = async () => {};

  constructor(
    private readonly node: string,
    private readonly ephemeral: EphemeralStore,
    private readonly log: Log,
    /** Called with what changed, gathered. */
    private readonly tell: (changes: { userId: string; online: boolean }[]) => Promise<void>,
  ) {}

  async start(): Promise<void> {
    this.#stopListening = await this.ephemeral.subscribe(CHANNEL, (text) => {
      const change = JSON.parse(text) as Change;
      if (change.node !== this.node) this.#apply(change);
    });
    await this.refresh();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#gathering);
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    const here = new Set([...this.#sockets.keys(), ...this.#leaving.keys()]);
    await this.#quietly(
      Promise.all([...here].map((userId) => this.ephemeral.removeMember(SET, `${userId} ${this.node}`))),
    );
    await this.#stopListening();
  }

  isOnline(userId: string): boolean {
    return this.#nodes.has(userId);
  }

  /** A socket of the user has connected here. */
  arrive(userId: string): void {
    clearTimeout(this.#leaving.get(userId));
    this.#leaving.delete(userId);
    const count = (this.#sockets.get(userId) ?? 0) + 1;
    this.#sockets.set(userId, count);
    if (count === 1) this.#change(userId, true);
  }

  /** A socket of the user has gone from here. */
  depart(userId: string): void {
    const count = (this.#sockets.get(userId) ?? 0) - 1;
    if (count > 0) {
      this.#sockets.set(userId, count);
      return;
    }
    this.#sockets.delete(userId);
    this.#leaving.set(
      userId,
      setTimeout(() => {
        this.#leaving.delete(userId);
        this.#change(userId, false);
      }, LEAVE_DELAY_MS),
    );
  }

  /** Renews this process's users in the store and takes over what the store knows of the others. */
  async refresh(): Promise<void> {
    try {
      const here = [...this.#sockets.keys()];
      for (let start = 0; start < here.length; start += AT_ONCE) {
        const some = here.slice(start, start + AT_ONCE);
        await Promise.all(
          some.map((userId) => this.ephemeral.touchMember(SET, `${userId} ${this.node}`, TTL_MS)),
        );
      }
      const stored = new Set(await this.ephemeral.members(SET));
      for (const [userId, nodes] of [...this.#nodes]) {
        for (const node of [...nodes]) {
          if (node !== this.node && !stored.has(`${userId} ${node}`))
            this.#apply({ userId, node, online: false });
        }
      }
      for (const member of stored) {
        const [userId = '', node = ''] = member.split(' ');
        if (node !== this.node) this.#apply({ userId, node, online: true });
      }
    } catch (error) {
      this.log.warn({ reason: String(error) }, 'presence is incomplete: the store is away');
    }
  }

  #change(userId: string, online: boolean): void {
    const change: Change = { userId, node: this.node, online };
    this.#apply(change);
    const member = `${userId} ${this.node}`;
    const stored = online
      ? this.ephemeral.touchMember(SET, member, TTL_MS)
      : this.ephemeral.removeMember(SET, member);
    void this.#quietly(stored.then(() => this.ephemeral.publish(CHANNEL, JSON.stringify(change))));
  }

  #apply({ userId, node, online }: Change): void {
    const nodes = this.#nodes.get(userId) ?? new Set<string>();
    const was = nodes.size > 0;
    if (online) nodes.add(node);
    else nodes.delete(node);
    const is = nodes.size > 0;
    if (is) this.#nodes.set(userId, nodes);
    else this.#nodes.delete(userId);
    if (was === is) return;
    // There and back within the gathering time is no news.
    if (this.#told.has(userId)) this.#told.delete(userId);
    else this.#told.set(userId, is);
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      const changes = [...this.#told].map(([id, nowOnline]) => ({ userId: id, online: nowOnline }));
      this.#told.clear();
      if (changes.length > 0) void this.#quietly(this.tell(changes));
    }, GATHER_MS);
  }

  async #quietly(work: Promise<unknown>): Promise<void> {
    await work.catch((error: unknown) => this.log.warn({ reason: String(error) }, 'presence was not told'));
  }
}
