import type { ManagerOptions, Socket, SocketOptions } from 'socket.io-client';
import type {
  Ack,
  AckError,
  ClientAcks,
  ClientEvent,
  ClientToServer,
  Invitation,
  Message,
  NewMessage,
  RoomSettings,
  ServerToClient,
} from '../contracts/chat.ts';
import { ChatRoom, deletion, editChange, type LiveChange, pinChange, threadChange } from './chat-room.ts';

/**
 * A client for chat's sockets, in browsers and elsewhere: it stays connected, keeps the rooms it has joined complete
 * and in order, and sends each message exactly once. Takes `io` of socket.io-client.
 */

export type ChatSocket = Socket<ServerToClient, ClientToServer>;

export interface ChatClientOptions {
  io: (url: string, options: Partial<ManagerOptions & SocketOptions>) => Socket;
  /** The platform's address. */
  url: string;
  /** The access token to use now; a fresh one if `renew`. null: nobody is signed in any more. */
  token: (renew: boolean) => string | null | Promise<string | null>;
  /** Messages held of each room: the newest. Who has been away for more of them begins anew. */
  keep?: number;
  /** Messages that wait to be sent, at most. */
  mostQueued?: number;
  /** Milliseconds until an event without an answer is sent again. */
  answerMs?: number;
  /** Milliseconds before the first attempt to connect or send again; they double up to `most`. */
  backOff?: { first: number; most: number };
}

/** What the client tells. */
export interface ChatClientEvents {
  /** `ended`: the server takes no token of this user any more. */
  state: (state: 'online' | 'offline' | 'ended') => void;
  /** A message that is new to this client, in the order of `seq`. */
  message: (message: Message) => void;
  /** A held message was edited, deleted, reacted to, answered, pinned. */
  changed: (message: Message) => void;
  /** Held messages were dropped: by retention, up to a number; or all (undefined), after a long absence. */
  removed: (removed: { roomId: string; upTo: number | undefined }) => void;
  /** Something was missing in a room and is asked for. */
  gap: (gap: { roomId: string }) => void;
  /** A room that can't be read any more. */
  left: (left: { roomId: string; reason: string }) => void;
  room: (room: RoomSettings) => void;
  invitation: (invitation: Invitation) => void;
  typing: ServerToClient['typing'];
  presence: ServerToClient['presence'];
  read: ServerToClient['read'];
}

/** The server's answer to an event was no. */
export class ChatRefusal extends Error {
  override readonly name = 'ChatRefusal';
  readonly code: string;
  constructor(readonly error: AckError['error']) {
    super(error.detail);
    this.code = error.code;
  }
}

type Outgoing = NewMessage & { roomId: string };
interface Waiting {
  input: Outgoing;
  promise: Promise<Message>;
  resolve(message: Message): void;
  reject(error: Error): void;
}
interface Joined {
  room: ChatRoom;
  ready: PromiseWithResolvers<ChatRoom>;
  asking: boolean;
}

/** Refusals that pass: the same may be asked again. */
const PASSING = new Set([
  'rate-limited',
  'slow-mode',
  'token-expired',
  'internal',
  'bad-gateway',
  'upstream-unavailable',
  'upstream-timeout',
  'switched-off',
  'maintenance',
]);
/** A message on which the server stumbles so often is given up: others wait behind it. */
const MOST_INTERNAL = 5;
/** A token is renewed so long before it runs out. */
const RENEW_BEFORE_MS = 30_000;
const RENEW_AGAIN_MS = 5_000;

export class ChatClient {
  readonly #options: Required<ChatClientOptions>;
  readonly #socket: ChatSocket;
  readonly #rooms = new Map<string, Joined>();
  readonly #outbox = new Map<string, Waiting[]>();
  readonly #sending = new Set<string>();
  readonly #listeners = new Map<string, Set<(argument: never) => void>>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #renewTimer: ReturnType<typeof setTimeout> | undefined;
  #userId = '';
  #renew = false;
  #attempts = 0;
  #queued = 0;
  #ended = false;

  constructor(options: ChatClientOptions) {
    this.#options = {
      keep: 500,
      mostQueued: 1_000,
      answerMs: 10_000,
      backOff: { first: 500, most: 10_000 },
      ...options,
    };
    const { first, most } = this.#options.backOff;
    this.#socket = options.io(options.url, {
      transports: ['websocket'],
      forceNew: true,
      reconnectionDelay: first,
      reconnectionDelayMax: most,
      randomizationFactor: 0.5,
      auth: (give) => void this.#authenticate(give),
    }) as unknown as ChatSocket;
    this.#listen();
  }

  get connected(): boolean {
    return this.#socket.connected;
  }

  /** Messages that are not acknowledged yet. */
  get queued(): number {
    return this.#queued;
  }

  /** Calls `listener` from now on. Returns how to stop. */
  on<E extends keyof ChatClientEvents>(event: E, listener: ChatClientEvents[E]): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * Joins a room and keeps it complete from then on. Begins with the newest messages, or after numbers that the caller
   * remembers. Resolves once it is up to date; rejects with a ChatRefusal if it may not be read.
   */
  join(roomId: string, from?: { after: number; changesAfter: number }): Promise<ChatRoom> {
    const id = roomId.toLowerCase();
    const known = this.#rooms.get(id);
    if (known) return known.ready.promise;
    const room = new ChatRoom(id, () => this.#userId, this.#options.keep, {
      message: (message) => this.#tell('message', message),
      changed: (message) => this.#tell('changed', message),
      removed: (upTo) => this.#tell('removed', { roomId: id, upTo }),
    });
    if (from) room.begin(from.after, from.changesAfter);
    const joined = { room, ready: Promise.withResolvers<ChatRoom>(), asking: false };
    joined.ready.promise.catch(() => {});
    this.#rooms.set(id, joined);
    void this.#catchUp(joined);
    return joined.ready.promise;
  }

  room(roomId: string): ChatRoom | undefined {
    return this.#rooms.get(roomId.toLowerCase())?.room;
  }

  leave(roomId: string): void {
    const id = roomId.toLowerCase();
    this.#drop(id, 'left');
    this.ask('room:leave', { roomId: id }).catch(() => {});
  }

  /**
   * Sends a message, now or when there is a connection again, and again with the same `clientId` until it is
   * acknowledged; to one room in the order of the calls. Rejects with a ChatRefusal if it is refused for good, if too
   * many wait already (`queue-full`), or if the client is closed before (`closed`).
   */
  send(input: Omit<Outgoing, 'clientId'> & { clientId?: string }): Promise<Message> {
    if (this.#ended) return Promise.reject(refusal('closed', 'The client is closed.'));
    if (this.#queued >= this.#options.mostQueued)
      return Promise.reject(refusal('queue-full', 'Too many messages wait to be sent.'));
    const waiting = {
      input: { ...input, clientId: input.clientId ?? crypto.randomUUID() },
      ...Promise.withResolvers<Message>(),
    };
    this.#queued++;
    const queue = this.#outbox.get(input.roomId) ?? [];
    this.#outbox.set(input.roomId, queue);
    queue.push(waiting);
    void this.#pump(input.roomId);
    return waiting.promise;
  }

  /** Asks once. Throws a ChatRefusal, or an Error if there was no answer: then it may have happened or not. */
  async ask<E extends ClientEvent>(
    event: E,
    input: Parameters<ClientToServer[E]>[0],
  ): Promise<ClientAcks[E]> {
    if (!this.#socket.connected) throw new Error('not connected');
    const socket = this.#socket.timeout(this.#options.answerMs) as unknown as {
      emitWithAck(event: E, input: unknown): Promise<Ack<E>>;
    };
    const reply = await socket.emitWithAck(event, input);
    if (reply.ok) return reply;
    if (reply.error.code === 'token-expired') void this.renewToken();
    throw new ChatRefusal(reply.error);
  }

  /** Hands over a fresh token on the open connection. Happens by itself before the token runs out. */
  async renewToken(): Promise<void> {
    if (this.#ended) return;
    clearTimeout(this.#renewTimer);
    // Whatever comes of it, it is tried again.
    this.#renewTimer = setTimeout(() => void this.renewToken(), RENEW_AGAIN_MS);
    try {
      const token = await this.#options.token(true);
      if (token === null) return this.#end('ended');
      await this.ask('auth:refresh', { token });
      this.#useToken(token);
    } catch {
      // No connection, or no token yet: the timer runs.
    }
  }

  /** Closes for good. What waits to be sent is refused (`closed`). */
  close(): void {
    this.#end('offline');
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('connect', () => {
      this.#attempts = 0;
      this.#renew = false;
      this.#tell('state', 'online');
      for (const joined of this.#rooms.values()) void this.#catchUp(joined);
      for (const roomId of this.#outbox.keys()) void this.#pump(roomId);
    });
    socket.on('disconnect', () => {
      clearTimeout(this.#renewTimer);
      this.#tell('state', 'offline');
      if (!socket.active) this.#connectLater();
    });
    socket.on('connect_error', (error) => {
      // Socket.IO tries again by itself, unless it was the server that refused.
      if (socket.active) return;
      const { code } = (error as { data?: { code?: string } }).data ?? {};
      if (code === 'token-expired' || code === 'unauthenticated') {
        if (this.#renew && code === 'unauthenticated') return this.#end('ended');
        this.#renew = true;
      } else if (code !== undefined && !PASSING.has(code)) {
        return this.#end('ended');
      }
      this.#connectLater();
    });
    socket.on('session:ended', () => {
      this.#renew = true;
    });
    socket.on('message', (message) => {
      this.#in(message.roomId, (room) => room.takeMessage(message));
    });
    socket.on('message:edited', (message) => this.#change(editChange(message)));
    socket.on('message:deleted', (message) => this.#change(deletion(message)));
    socket.on('thread', (change) => this.#change(threadChange(change)));
    socket.on('pin', (change) => this.#change(pinChange(change)));
    socket.on('reaction', (change) => {
      this.#in(change.roomId, (room) => room.takeChange(room.reaction(change)));
    });
    socket.on('room:beat', ({ roomId, lastSeq, lastChange }) => {
      this.#in(roomId, (room) => room.hear(lastSeq, lastChange));
    });
    socket.on('room:updated', (settings) => {
      this.#in(settings.id, (room) => room.removeBelow(settings.firstSeq));
      this.#tell('room', settings);
    });
    socket.on('room:left', ({ roomId, reason }) => this.#drop(roomId, reason));
    socket.on('invitation', (invitation) => this.#tell('invitation', invitation));
    socket.on('typing', (typing) => this.#tell('typing', typing));
    socket.on('presence', (presence) => this.#tell('presence', presence));
    socket.on('read', (read) => this.#tell('read', read));
  }

  #change(change: LiveChange): void {
    this.#in(change.roomId, (room) => room.takeChange(change));
  }

  /** Something came for a room: if it shows that something is missing, that is asked for. */
  #in(roomId: string, take: (room: ChatRoom) => void): void {
    const joined = this.#rooms.get(roomId);
    if (!joined) return;
    take(joined.room);
    if (joined.asking || !joined.room.behind) return;
    this.#tell('gap', { roomId });
    void this.#catchUp(joined);
  }

  /** Asks for what is missing, page by page, until nothing is; a lost connection ends it and the next begins it anew. */
  async #catchUp(joined: Joined): Promise<void> {
    if (joined.asking || !this.#socket.connected) return;
    joined.asking = true;
    const { room, ready } = joined;
    for (let failures = 0; this.#socket.connected && this.#rooms.get(room.id) === joined; ) {
      const { seq, change } = room;
      const from = seq === undefined ? {} : { after: seq, changesAfter: change ?? 0 };
      try {
        const page = await this.ask('room:join', { roomId: room.id, ...from });
        if (seq !== undefined && page.hasMore && page.lastSeq - (room.seq ?? 0) > this.#options.keep) {
          room.reset();
          this.#tell('removed', { roomId: room.id, upTo: undefined });
          continue;
        }
        room.takePage(page);
        // A page that brings nothing although something is missing is asked for again, but not at once.
        if (room.behind && room.seq === seq && room.change === change)
          await this.#pause(undefined, failures++);
        else failures = 0;
        if ((page.hasMore && seq !== undefined) || page.hasMoreChanges || room.behind) continue;
        ready.resolve(room);
        break;
      } catch (error) {
        if (!passes(error)) {
          this.#drop(room.id, codeOf(error), error as Error);
          break;
        }
        if (this.#socket.connected) await this.#pause(error, failures++);
      }
    }
    joined.asking = false;
    // Meanwhile the connection was another one, or something came after the last look.
    if (this.#socket.connected && this.#rooms.get(room.id) === joined && room.behind)
      void this.#catchUp(joined);
  }

  /** Sends what waits for a room, one after the other: the next may not overtake one that has to be sent again. */
  async #pump(roomId: string): Promise<void> {
    if (this.#sending.has(roomId)) return;
    this.#sending.add(roomId);
    const queue = this.#outbox.get(roomId) ?? [];
    for (let failures = 0; queue.length > 0 && this.#socket.connected; ) {
      const waiting = queue[0]!;
      try {
        const { message } = await this.ask('message:send', waiting.input);
        waiting.resolve(message);
      } catch (error) {
        if (passes(error) && !(failures >= MOST_INTERNAL && codeOf(error) === 'internal')) {
          if (this.#socket.connected) await this.#pause(error, failures++);
          continue;
        }
        waiting.reject(error as Error);
      }
      failures = 0;
      // Empty if the client was closed meanwhile.
      if (queue.shift()) this.#queued--;
    }
    this.#sending.delete(roomId);
    if (queue.length === 0) this.#outbox.delete(roomId);
  }

  async #authenticate(give: (auth: { token: string }) => void): Promise<void> {
    try {
      const token = await this.#options.token(this.#renew);
      if (token === null) return this.#end('ended');
      this.#useToken(token);
      give({ token });
    } catch {
      // Without an answer the server would keep the connection waiting.
      this.#socket.disconnect();
      this.#connectLater();
    }
  }

  #useToken(token: string): void {
    const { sub, exp } = claimsOf(token);
    this.#userId = sub ?? '';
    clearTimeout(this.#renewTimer);
    if (exp === undefined) return;
    const left = exp * 1000 - Date.now();
    const wait = Math.min(Math.max(left - RENEW_BEFORE_MS, left / 2, RENEW_AGAIN_MS), 2 ** 31 - 1);
    this.#renewTimer = setTimeout(() => void this.renewToken(), wait);
  }

  #connectLater(): void {
    if (this.#ended) return;
    this.#later(this.#backOff(this.#attempts++), () => {
      if (!this.#ended) this.#socket.connect();
    });
  }

  #drop(roomId: string, reason: string, error: Error = refusal(reason, 'Not in the room any more.')): void {
    const joined = this.#rooms.get(roomId);
    if (!joined) return;
    this.#rooms.delete(roomId);
    joined.ready.reject(error);
    this.#tell('left', { roomId, reason });
  }

  #end(state: 'offline' | 'ended'): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.disconnect();
    clearTimeout(this.#renewTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    const closed = refusal('closed', 'The client was closed before the server answered.');
    for (const queue of this.#outbox.values()) for (const { reject } of queue.splice(0)) reject(closed);
    for (const { ready } of this.#rooms.values()) ready.reject(closed);
    this.#outbox.clear();
    this.#queued = 0;
    if (state === 'ended') this.#tell('state', 'ended');
  }

  /** Waits as long as the refusal asks for, or longer and longer. */
  #pause(error: unknown, failures: number): Promise<void> {
    const asked = error instanceof ChatRefusal ? (error.error.retryAfter ?? 0) * 1000 : 0;
    return new Promise((resolve) => this.#later(Math.max(asked, this.#backOff(failures)), resolve));
  }

  #backOff(failures: number): number {
    const { first, most } = this.#options.backOff;
    return Math.min(most, first * 2 ** Math.min(failures, 20)) * (0.5 + Math.random() / 2);
  }

  #later(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }

  #tell<E extends keyof ChatClientEvents>(event: E, argument: Parameters<ChatClientEvents[E]>[0]): void {
    for (const listener of this.#listeners.get(event) ?? [])
      (listener as (argument: Parameters<ChatClientEvents[E]>[0]) => void)(argument);
  }
}

const codeOf = (error: unknown): string => (error instanceof ChatRefusal ? error.code : '');
/** Whether the same may be asked again. No answer at all passes too. */
const passes = (error: unknown): boolean => !(error instanceof ChatRefusal) || PASSING.has(error.code);
const refusal = (code: string, detail: string): ChatRefusal => new ChatRefusal({ code, detail });

/** What a JWT says; nothing if it is none. */
function claimsOf(token: string): { sub?: string; exp?: number } {
  try {
    const claims = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(atob(claims)) as { sub?: string; exp?: number };
  } catch {
    return {};
  }
}
