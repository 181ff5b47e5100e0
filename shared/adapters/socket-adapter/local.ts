import type { SocketAdapter } from '../../ports/socket-adapter.ts';

/** One process has no others to tell: Socket.IO's own in-memory adapter does. */
export const localSocketAdapter: SocketAdapter = {
  attach() {},
  async ready() {},
  async close() {},
};
