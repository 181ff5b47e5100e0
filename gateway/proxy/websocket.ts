import type { Socket } from 'node:net';
import type { GatewayTimings } from '../config.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { CLOSE, closeFrame, FrameFollower } from './frames.ts';

/** Bytes of one message, as the contract says; Socket.IO's own default is the same. */
export const MAX_MESSAGE_BYTES = 1_048_576;
/** After our close frame, a client has so long to close its side. */
const CLOSE_WAIT_MS = 2_000;

/** Both ends of one WebSocket, after the handshake. */
export interface RelayedSocket {
  /** Tells the client why, at the end of the frame it is getting, and lets go of the upstream. */
  close(code: number, reason: string): void;
  /** Drops both ends at once. */
  destroy(): void;
  readonly closed: Promise<void>;
}

/**
 * Copies bytes both ways: frames, compression, pings and close codes pass untouched, so 1005 and 1006 need no
 * mapping. Each side is paused while the other's socket is full, so what is buffered here is one socket buffer a
 * direction. A close frame of our own is put in between frames only: 1012 when the upstream vanished, 1013 when it
 * takes nothing, 1009 for a message over the limit. A client that reads nothing for `stallMs` is dropped without a
 * frame: it would not read that either.
 */
export function relayWebSocket(
  client: Socket,
  upstream: Socket,
  timings: GatewayTimings,
  metrics: GatewayMetrics,
): RelayedSocket {
  const toClient = new FrameFollower(Number.POSITIVE_INFINITY);
  const toUpstream = new FrameFollower(MAX_MESSAGE_BYTES);
  let pending: Buffer | undefined;
  let ending = false;
  let reasonLabel = 'client';
  let settle = (): void => {};
  const closed = new Promise<void>((resolve) => {
    settle = resolve;
  });
  metrics.openSockets.inc();

  const destroy = (): void => {
    client.destroy();
    upstream.destroy();
  };
  const sendClose = (): void => {
    if (!pending) return;
    if (!client.destroyed) client.end(pending);
    pending = undefined;
    setTimeout(destroy, CLOSE_WAIT_MS).unref?.();
  };
  const close = (code: number, reason: string, label = 'gateway'): void => {
    if (ending) return;
    ending = true;
    reasonLabel = label;
    if (toClient.sawClose) return void client.end();
    pending = closeFrame(code, reason);
    if (toClient.atBoundary) {
      upstream.destroy();
      sendClose();
    } else {
      // In the middle of a frame: its rest comes first, if it comes.
      setTimeout(destroy, CLOSE_WAIT_MS).unref?.();
    }
  };

  const clientStall = new Stall(timings.stallMs, () => {
    reasonLabel = 'slow-client';
    destroy();
  });
  const upstreamStall = new Stall(timings.stallMs, () =>
    close(CLOSE.tryAgainLater, 'the service is not keeping up', 'slow-upstream'),
  );

  upstream.on('data', (chunk: Buffer) => {
    if (ending && toClient.atBoundary) return;
    toClient.follow(chunk);
    if (!client.write(chunk)) {
      upstream.pause();
      clientStall.begin();
    }
    if (pending && toClient.atBoundary) {
      upstream.destroy();
      sendClose();
    }
  });
  client.on('drain', () => {
    clientStall.end();
    upstream.resume();
  });
  client.on('data', (chunk: Buffer) => {
    if (upstream.destroyed) return; // the client's half of a close that we began
    if (!toUpstream.follow(chunk)) return close(CLOSE.tooBig, 'message too big', 'too-big');
    if (!upstream.write(chunk)) {
      client.pause();
      upstreamStall.begin();
    }
  });
  upstream.on('drain', () => {
    upstreamStall.end();
    client.resume();
  });
  upstream.on('end', () => upstream.end());
  upstream.on('close', () => {
    if (client.destroyed || ending) return;
    if (!toClient.atBoundary) return void client.destroy();
    close(
      CLOSE.serviceRestart,
      'the service went away; connect again',
      toClient.sawClose ? 'upstream' : 'upstream-lost',
    );
  });
  // A half-closed WebSocket is of no use to anybody.
  client.on('end', () => client.end());
  client.on('close', () => {
    clientStall.end();
    upstreamStall.end();
    upstream.destroy();
    metrics.openSockets.dec();
    metrics.socketsClosed.inc({ reason: reasonLabel });
    settle();
  });
  client.on('error', () => client.destroy());
  upstream.on('error', () => upstream.destroy());

  return { close, destroy, closed };
}

/** Calls back when a wait has lasted too long. */
class Stall {
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ms: number,
    private readonly onLate: () => void,
  ) {}

  begin(): void {
    this.timer ??= setTimeout(this.onLate, this.ms);
  }

  end(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
