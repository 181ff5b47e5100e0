import { type Access, signedIn } from '../../shared/auth/access.ts';
import type { Caller } from '../../shared/auth/tokens.ts';
import {
  CLIENT_EVENTS,
  type ClientAcks,
  type ClientEvent,
  type ClientInput,
} from '../../shared/contracts/chat.ts';
import { Problem, toProblem } from '../../shared/errors.ts';
import { Context } from '../../shared/http/context.ts';
import type { ServiceDeps } from '../../shared/service.ts';
import type { ChatContext, ChatTools } from './context.ts';
import { Connection, refusal, type SocketEvent, type Turn } from './live/connection.ts';
import { type Connections, MOST_OF_USER } from './live/connections.ts';
import type { Hub } from './live/hub.ts';
import { type ChatServer, type ChatSocket, NOTIFICATIONS, roomKey } from './live/names.ts';
import type { ChatMetrics } from './metrics.ts';
import { announceTyping } from './operations/announce-typing.ts';
import { changeReaction } from './operations/change-reaction.ts';
import { deleteMessage } from './operations/delete-message.ts';
import { editMessage } from './operations/edit-message.ts';
import { type JoinPage, joinPage } from './operations/join-room.ts';
import { listOnline } from './operations/list-online.ts';
import { markRead } from './operations/mark-read.ts';
import { readableRoom } from './operations/room-access.ts';
import { sendMessage } from './operations/send-message.ts';
import type { ChatTables } from './store/tables.ts';

const strangers = { learnerNotEnrolled: 'not-found', otherTeacher: 'not-found' } as const;
/** Administrators look into course rooms, but don't take part. */
const members = signedIn({ ...strangers, administrator: 'forbidden' });
const lookers = signedIn(strangers);

/**
 * Who may send which event: the socket rows of the access matrix, for the course's room and, where an event
 * names a message, one in it that `learnerEnrolled` wrote.
 */
export const socketAccess: Record<ClientEvent, Access> = {
  'room:join': lookers,
  'room:leave': signedIn(),
  'message:send': members,
  'message:edit': signedIn({ ...strangers, courseTeacher: 'forbidden', administrator: 'forbidden' }),
  'message:delete': lookers,
  'reaction:add': members,
  'reaction:remove': members,
  typing: members,
  read: members,
  'presence:list': lookers,
  // Renews an expired token too, so it is not asked for a valid one.
  'auth:refresh': { ...signedIn(), token: 'optional' },
};

/** Of one person in one room, over all connections to this process. */
const TYPING_EVERY_MS = 2_000;
/** So many are remembered before those that are over are forgotten. */
const MOST_TYPING = 10_000;

interface SocketDoor {
  deps: ServiceDeps<ChatTables>;
  tools: ChatTools;
  hub: Hub;
  connections: Connections;
  metrics: ChatMetrics;
  nudge: () => void;
}

type Handle<E extends ClientEvent> = (
  context: ChatContext,
  input: ClientInput<E>,
  connection: Connection,
  turn: Turn,
) => Promise<ClientAcks[E]>;

function eventTable({ deps, tools, hub, nudge }: SocketDoor): Map<unknown, SocketEvent> {
  const typedAt = new Map<string, number>();
  const handles: { [E in ClientEvent]: Handle<E> } = {
    'room:join': async (context, { roomId, after, changesAfter }, connection, turn) => {
      const socket = connection.socket as ChatSocket;
      const id = roomId.toLowerCase();
      const reply = (page: JoinPage) => {
        const lastSeq = Math.max(page.room.lastSeq, page.messages.at(-1)?.seq ?? 0);
        return { ...page, lastSeq };
      };
      const page = await hub.feeds.join(
        socket,
        id,
        () => joinPage(context, { roomId: id, after, changesAfter }),
        (read) => turn.answer(reply(read)),
      );
      // Membership may have ended while the page was read, too early for the socket to be taken out.
      await readableRoom(context, id).catch((error: unknown) => {
        if (error instanceof Problem && error.status < 500) void socket.leave(roomKey(id));
      });
      return reply(page);
    },
    'room:leave': async (_context, { roomId }, connection) => {
      await connection.socket.leave(roomKey(roomId.toLowerCase()));
      return {};
    },
    // Its place is settled when it is queued: the next need not wait for the commit.
    'message:send': async (context, input, _connection, turn) => {
      const { message } = await sendMessage(context, tools, input, turn.release);
      return { message };
    },
    'message:edit': async (context, input) => ({ message: await editMessage(context, tools, input) }),
    'message:delete': async (context, input) => ({ message: await deleteMessage(context, tools, input) }),
    'reaction:add': (context, input) => changeReaction(context, tools, { ...input, added: true }),
    'reaction:remove': (context, input) => changeReaction(context, tools, { ...input, added: false }),
    typing: async (context, { roomId }) => {
      const id = roomId.toLowerCase();
      const key = `${context.caller.userId} ${id}`;
      const now = Date.now();
      if (now - (typedAt.get(key) ?? 0) < TYPING_EVERY_MS) return {};
      await announceTyping(context, tools, { roomId: id });
      if (typedAt.size >= MOST_TYPING)
        for (const [known, at] of typedAt) if (now - at >= TYPING_EVERY_MS) typedAt.delete(known);
      typedAt.set(key, now);
      return {};
    },
    read: (context, input) => markRead(context, tools, input),
    'presence:list': (context, input) => listOnline(context, tools, input),
    'auth:refresh': (_context, { token }, connection) => connection.renew(token),
  };

  return new Map(
    (Object.keys(handles) as ClientEvent[]).map((name): [string, SocketEvent] => [
      name,
      {
        access: socketAccess[name],
        schema: CLIENT_EVENTS[name],
        handle(connection, input, origin, turn) {
          const context: ChatContext = new Context(deps.db, connection.caller, origin, deps.log, nudge);
          return (handles[name] as Handle<ClientEvent>)(context, input as never, connection, turn);
        },
      },
    ]),
  );
}

/** The sockets' door: both namespaces, each connection authenticated at its handshake. */
export function openSockets(io: ChatServer, door: SocketDoor): void {
  const { deps, hub, connections, metrics } = door;
  const events = eventTable(door);
  const notificationEvents = new Map([...events].filter(([name]) => name === 'auth:refresh'));
  for (const [name, table] of [
    ['/', events],
    [NOTIFICATIONS, notificationEvents],
  ] as const) {
    const namespace = io.of(name);
    namespace.use((socket, next) => {
      const token: unknown = socket.handshake.auth.token;
      authenticate(deps, token).then(
        (caller) => {
          socket.data = { caller, token };
          const full = connections.openOf(caller.userId) >= MOST_OF_USER * deps.settings.limitScale;
          next(full ? refusalOf(tooManySockets()) : undefined);
        },
        (error: unknown) => next(refusalOf(toProblem(error))),
      );
    });
    const isMain = name === '/';
    const shared = {
      ...deps,
      limitScale: deps.settings.limitScale,
      onClosed(connection: Connection, reason: string) {
        connections.remove(connection);
        metrics.connections.dec({ namespace: name });
        metrics.connectionsClosed.inc({ reason });
        if (isMain) hub.board.depart(connection.caller.userId);
      },
    };
    namespace.on('connection', (socket) => {
      const { caller, token } = socket.data as { caller: Caller; token: string };
      connections.add(new Connection(socket, table, shared, caller, token));
      metrics.connections.inc({ namespace: name });
      if (isMain) hub.board.arrive(caller.userId);
    });
  }
}

/** A handshake's refusal, whose `data` the client finds in `connect_error`. */
const refusalOf = (problem: Problem): Error =>
  Object.assign(new Error(problem.detail), { data: refusal(problem).error });

const tooManySockets = (): Problem =>
  new Problem('rate-limited', 'You have too many open sockets. Close some of them.', { retryAfter: 30 });

async function authenticate(deps: ServiceDeps<ChatTables>, token: unknown): Promise<Caller> {
  if (typeof token !== 'string' || token === '')
    throw new Problem('unauthenticated', 'Give an access token in auth.token.');
  return deps.tokens.verify(token);
}
