import { connect, type Socket } from 'node:net';
import { unavailable } from '../../shared/errors.ts';
import type { Exchange } from '../exchange.ts';
import { requestHeaders } from './headers.ts';
import type { UpstreamAddress, UpstreamPool } from './upstreams.ts';

const MAX_HEAD_BYTES = 16_384;
const HANDSHAKE = [
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
];
/** Of the upstream's reply, what the client needs to finish the handshake. */
const ANSWER = new Set([
  'sec-websocket-accept',
  'sec-websocket-protocol',
  'sec-websocket-extensions',
  'set-cookie',
]);

export interface Dialled {
  socket: Socket;
  status: number;
  /** `name: value` lines for the client. */
  lines: string[];
  /** Bytes that came right behind the head. */
  rest: Buffer;
}

/**
 * Opens a WebSocket to the first replica that answers, with the client's own key, so that the upstream's accept hash
 * and the extensions it chose hold end to end. Throws `upstream-unavailable` if none answers.
 */
export async function dialWebSocket(
  exchange: Exchange,
  pool: UpstreamPool,
  timeoutMs: number,
  gone: AbortSignal,
): Promise<Dialled> {
  exchange.upstream = pool.name;
  let last: unknown;
  for (const address of pool.order()) {
    if (gone.aborted) break;
    try {
      const dialled = await handshake(exchange, address, timeoutMs, gone);
      pool.markUp(address);
      return dialled;
    } catch (error) {
      last = error;
      pool.markDown(address);
    }
  }
  throw unavailable(`The ${pool.name} service`, last, 1);
}

function handshake(
  exchange: Exchange,
  address: UpstreamAddress,
  timeoutMs: number,
  gone: AbortSignal,
): Promise<Dialled> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.hostname, port: address.port });
    socket.setNoDelay(true);
    let head = Buffer.alloc(0);
    const finish = (error: Error | undefined, dialled?: Dialled): void => {
      clearTimeout(timer);
      gone.removeEventListener('abort', onGone);
      socket.off('data', onData).off('error', onError).off('close', onClose);
      if (dialled) {
        resolve(dialled);
        return;
      }
      socket.on('error', () => {}).destroy();
      reject(error);
    };
    const onGone = (): void => finish(new Error('the client is gone'));
    const onError = (error: Error): void => finish(error);
    const onClose = (): void => finish(new Error('closed during the handshake'));
    const onData = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) {
        if (head.byteLength > MAX_HEAD_BYTES) finish(new Error('the reply has no end of head'));
        return;
      }
      socket.pause();
      const [statusLine = '', ...lines] = head.subarray(0, end).toString('latin1').split('\r\n');
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
      if (!status) {
        finish(new Error('not an HTTP reply'));
        return;
      }
      const kept = lines.filter((line) => ANSWER.has(line.slice(0, line.indexOf(':')).toLowerCase()));
      finish(undefined, { socket, status, lines: kept, rest: head.subarray(end + 4) });
    };
    const timer = setTimeout(() => finish(new Error(`no handshake within ${timeoutMs} ms`)), timeoutMs);
    gone.addEventListener('abort', onGone, { once: true });
    socket.on('data', onData).on('error', onError).on('close', onClose);
    socket.once('connect', () => socket.write(requestHead(exchange, address)));
  });
}

function requestHead(exchange: Exchange, address: UpstreamAddress): string {
  const headers = requestHeaders(exchange, address.host);
  const { headers: given } = exchange.request;
  for (const name of HANDSHAKE) {
    const value = given[name];
    if (value !== undefined) headers[name] = value;
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}`),
  );
  return `${[`GET ${exchange.path}${exchange.query} HTTP/1.1`, 'connection: Upgrade', 'upgrade: websocket', ...lines].join('\r\n')}\r\n\r\n`;
}
