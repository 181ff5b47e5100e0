import type { Log } from '../../../shared/observability/log.ts';
import type { EphemeralStore } from '../../../shared/ports/ephemeral-store.ts';

/** Processes that are alive, and who is connected to each. */
const NODES = 'chat:nodes';
const usersOf = (node: string): string => `chat:online:${node}`;
const CHANNEL = 'chat:presence';
/** A process that dies takes its users offline after this long. */
const NODE_TTL_MS = 45_000;
/** Its users stay in the store for as long as it lives; this is only for what a dead one leaves behind. */
const USER_TTL_MS = 3_600_000;
const RENEW_USERS_MS = USER_TTL_MS / 2;
/** Who comes back within this time was never away: a reload is no news. */
const LEAVE_DELAY_MS = 1_500;
/** Changes are gathered for this long, so that a class that comes in together is told at once. */
const GATHER_MS = 100;
const AT_ONCE = 100;

interface News {
  node: string;
  came: string[];
  left: string[];
}

/**
 * Who is connected, to whichever process. Each process says who is here to the ephemeral store, hears of changes
 * from the others and compares with the store regularly, so that a process that died is noticed. While the
 * store is away the board knows its own users only.
 */
export class PresenceBoard {
  /** Sockets of each user here; none while it is seen whether they come back. */
  readonly #here = new Map<string, number>();
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();
  /** Users on each other process. */
  readonly #elsewhere = new Map<string, Set<string>>();
  /** What others have not been told: processes of who is here, clients of who is online. */
  #unsaid = new Map<string, boolean>();
  #untold = new Map<string, boolean>();
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #renewedAt = Number.NEGATIVE_INFINITY;
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
      const { node, came, left } = JSON.parse(text) as News;
      if (node === this.node) return;
      for (const userId of came) this.#setElsewhere(node, userId, true);
      for (const userId of left) this.#setElsewhere(node, userId, false);
    });
    await this.refresh();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#gathering);
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    await this.#stopListening();
    await this.#quietly(this.ephemeral.removeMember(NODES, this.node));
    await this.#quietly(this.ephemeral.delete(usersOf(this.node)));
    const news: News = { node: this.node, came: [], left: [...this.#here.keys()] };
    if (news.left.length > 0) await this.#quietly(this.ephemeral.publish(CHANNEL, JSON.stringify(news)));
  }

  isOnline(userId: string): boolean {
    return this.#here.has(userId) || this.#isElsewhere(userId);
  }

  /** A socket of the user has connected here. */
  arrive(userId: string): void {
    const sockets = this.#here.get(userId);
    this.#here.set(userId, (sockets ?? 0) + 1);
    clearTimeout(this.#leaving.get(userId));
    this.#leaving.delete(userId);
    if (sockets === undefined) this.#changeHere(userId, true);
  }

  /** A socket of the user has gone from here. */
  depart(userId: string): void {
    const sockets = (this.#here.get(userId) ?? 1) - 1;
    this.#here.set(userId, sockets);
    if (sockets > 0) return;
    const leave = (): void => {
      this.#leaving.delete(userId);
      this.#here.delete(userId);
      this.#changeHere(userId, false);
    };
    this.#leaving.set(userId, setTimeout(leave, LEAVE_DELAY_MS));
  }

  /** Says that this process lives, and takes over what the store knows of the others. */
  async refresh(): Promise<void> {
    try {
      const forgotten = await this.ephemeral.touchMember(NODES, this.node, NODE_TTL_MS);
      // A store that lost its memory learns all of it again.
      if (forgotten || performance.now() - this.#renewedAt > RENEW_USERS_MS) await this.#renewUsers();
      const alive = new Set(await this.ephemeral.members(NODES));
      alive.delete(this.node);
      for (const node of alive) this.#takeOver(node, new Set(await this.ephemeral.members(usersOf(node))));
      for (const node of [...this.#elsewhere.keys()]) if (!alive.has(node)) this.#takeOver(node, new Set());
    } catch (error) {
      this.log.warn({ reason: String(error) }, 'presence is incomplete: the store is away');
    }
  }

  async #renewUsers(): Promise<void> {
    const here = [...this.#here.keys()];
    for (let start = 0; start < here.length; start += AT_ONCE) {
      const some = here.slice(start, start + AT_ONCE);
      await Promise.all(
        some.map((userId) => this.ephemeral.touchMember(usersOf(this.node), userId, USER_TTL_MS)),
      );
    }
    this.#renewedAt = performance.now();
  }

  /** `users` are those of another process, as the store has them. */
  #takeOver(node: string, users: Set<string>): void {
    for (const userId of [...(this.#elsewhere.get(node) ?? [])])
      if (!users.has(userId)) this.#setElsewhere(node, userId, false);
    for (const userId of users) this.#setElsewhere(node, userId, true);
    if (users.size === 0) this.#elsewhere.delete(node);
  }

  #setElsewhere(node: string, userId: string, online: boolean): void {
    const before = this.isOnline(userId);
    const users = this.#elsewhere.get(node) ?? new Set();
    this.#elsewhere.set(node, users);
    if (online) users.add(userId);
    else users.delete(userId);
    if (this.isOnline(userId) !== before) note(this.#untold, userId, online);
    this.#gatherSoon();
  }

  #isElsewhere(userId: string): boolean {
    for (const users of this.#elsewhere.values()) if (users.has(userId)) return true;
    return false;
  }

  #changeHere(userId: string, online: boolean): void {
    note(this.#unsaid, userId, online);
    if (!this.#isElsewhere(userId)) note(this.#untold, userId, online);
    this.#gatherSoon();
  }

  #gatherSoon(): void {
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      void this.#quietly(this.#say());
      const changes = [...this.#untold].map(([userId, online]) => ({ userId, online }));
      this.#untold = new Map();
      if (changes.length > 0) void this.#quietly(this.tell(changes));
    }, GATHER_MS);
  }

  /** To the store, and to the other processes. */
  async #say(): Promise<void> {
    const unsaid = [...this.#unsaid];
    if (unsaid.length === 0) return;
    this.#unsaid = new Map();
    const users = usersOf(this.node);
    await Promise.all(
      unsaid.map(([userId, online]) =>
        online
          ? this.ephemeral.touchMember(users, userId, USER_TTL_MS)
          : this.ephemeral.removeMember(users, userId),
      ),
    );
    const of = (wanted: boolean) => unsaid.flatMap(([userId, online]) => (online === wanted ? userId : []));
    const news: News = { node: this.node, came: of(true), left: of(false) };
    await this.ephemeral.publish(CHANNEL, JSON.stringify(news));
  }

  async #quietly(work: Promise<unknown>): Promise<void> {
    await work.catch((error: unknown) => this.log.warn({ reason: String(error) }, 'presence was not told'));
  }
}

/** There and back before it is told is no news. */
function note(changes: Map<string, boolean>, userId: string, online: boolean): void {
  if (changes.get(userId) === !online) changes.delete(userId);
  else changes.set(userId, online);
}
