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
import { Connection, type SocketEvent } from './live/connection.ts';
import type { Hub } from './live/hub.ts';
import { type ChatServer, type ChatSocket, NOTIFICATIONS, roomKey } from './live/names.ts';
import { announceTyping } from './operations/announce-typing.ts';
import { changeReaction } from './operations/change-reaction.ts';
import { deleteMessage } from './operations/delete-message.ts';
import { editMessage } from './operations/edit-message.ts';
import { joinPage } from './operations/join-room.ts';
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

const TYPING_EVERY_MS = 2_000;

interface SocketDoor {
  deps: ServiceDeps<ChatTables>;
  tools: ChatTools;
  hub: Hub;
  nudge: () => void;
}

type Handle<E extends ClientEvent> = (
  context: ChatContext,
  input: ClientInput<E>,
  connection: Connection,
) => Promise<ClientAcks[E]>;

function eventTable({ deps, tools, hub, nudge }: SocketDoor): Map<unknown, SocketEvent> {
  const typedAt = new WeakMap<Connection, Map<string, number>>();
  const handles: { [E in ClientEvent]: Handle<E> } = {
    'room:join': async (context, { roomId, after }, connection) => {
      const socket = connection.socket as ChatSocket;
      const id = roomId.toLowerCase();
      const page = await hub.feeds.join(socket, id, after, (from) =>
        joinPage(context, { roomId: id, after: from }),
      );
      // Membership may have ended while the page was read, too early for the socket to be taken out.
      await readableRoom(context, id).catch((error: unknown) => {
        void socket.leave(roomKey(id));
        throw error;
      });
      return { room: page.room, messages: page.messages, lastSeq: page.room.lastSeq, hasMore: page.hasMore };
    },
    'room:leave': async (_context, { roomId }, connection) => {
      await connection.socket.leave(roomKey(roomId.toLowerCase()));
      return {};
    },
    'message:send': async (context, input) => {
      const { message } = await sendMessage(context, tools, input);
      return { message };
    },
    'message:edit': async (context, input) => ({ message: await editMessage(context, tools, input) }),
    'message:delete': async (context, input) => ({ message: await deleteMessage(context, tools, input) }),
    'reaction:add': (context, input) => changeReaction(context, tools, { ...input, added: true }),
    'reaction:remove': (context, input) => changeReaction(context, tools, { ...input, added: false }),
    typing: async (context, { roomId }, connection) => {
      const times = typedAt.get(connection) ?? new Map<string, number>();
      typedAt.set(connection, times);
      const id = roomId.toLowerCase();
      if (Date.now() - (times.get(id) ?? 0) < TYPING_EVERY_MS) return {};
      await announceTyping(context, tools, { roomId: id });
      times.set(id, Date.now());
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
        handle(connection, input, origin, log) {
          const context: ChatContext = new Context(deps.db, connection.caller, origin, log, nudge);
          return (handles[name] as Handle<ClientEvent>)(context, input as never, connection);
        },
      },
    ]),
  );
}

/** The sockets' door: both namespaces, each connection authenticated at its handshake. */
export function openSockets(io: ChatServer, door: SocketDoor): void {
  const { deps, hub } = door;
  const events = eventTable(door);
  const notificationEvents = new Map([...events].filter(([name]) => name === 'auth:refresh'));
  const callers = new WeakMap<object, { caller: Caller; token: string }>();

  for (const [name, table] of [
    ['/', events],
    [NOTIFICATIONS, notificationEvents],
  ] as const) {
    const namespace = io.of(name);
    namespace.use((socket, next) => {
      const token: unknown = socket.handshake.auth.token;
      authenticate(deps, token).then(
        (caller) => {
          callers.set(socket, { caller, token: token as string });
          next();
        },
        (error: unknown) => {
          const { code, detail } = toProblem(error);
          next(Object.assign(new Error(detail), { data: { code, detail } }));
        },
      );
    });
    namespace.on('connection', (socket) => {
      const { caller, token } = callers.get(socket)!;
      const limits = { ...deps, limitScale: deps.settings.limitScale };
      new Connection(socket, table, limits, caller, token);
      if (name !== '/') return;
      hub.board.arrive(caller.userId);
      socket.on('disconnect', () => hub.board.depart(caller.userId));
    });
  }
}

async function authenticate(deps: ServiceDeps<ChatTables>, token: unknown): Promise<Caller> {
  if (typeof token !== 'string' || token === '')
    throw new Problem('unauthenticated', 'Give an access token in auth.token.');
  return deps.tokens.verify(token);
}
