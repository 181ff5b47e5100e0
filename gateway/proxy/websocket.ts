import type { Wire, WireOwner } from '../../shared/runtime/tcp.ts';
import type { Deadlines, Waiting } from '../http/deadlines.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { CLOSE, closeFrame, FrameFollower } from './frames.ts';

/** Bytes of one message, as the contract says; Socket.IO's own default is the same. */
export const MAX_MESSAGE_BYTES = 1_048_576;
/** After our close frame, a client has so long to close its side, in milliseconds. */
const CLOSE_WAIT_MS = 2_000;

export interface RelayOptions {
  deadlines: Deadlines;
  /** A side that takes nothing for so long is given up, in milliseconds. */
  stallMs: number;
  metrics: GatewayMetrics;
  onClosed(): void;
}

/**
 * Both ends of one WebSocket, after the handshake. Copies bytes both ways: frames, compression, pings and close codes
 * pass untouched, so 1005 and 1006 need no mapping. Each side is paused while the other's socket is full, so what is
 * held here is what one read gave. A close frame of our own is put in between frames only: 1012 when the upstream
 * vanished, 1013 when it takes nothing, 1009 for a message over the limit, 4008 for a client that reads nothing: it
 * finds that behind what waits for it, if it reads on in time.
 */
export class RelayedSocket implements Waiting {
  private readonly toClient = new FrameFollower(Number.POSITIVE_INFINITY);
  private readonly toUpstream = new FrameFollower(MAX_MESSAGE_BYTES);
  private pendingClose: Buffer | undefined;
  private ending = false;
  private destroyAt = 0;
  private reason = 'client';
  private over = false;

  constructor(
    private readonly client: Wire,
    private readonly upstream: Wire,
    private readonly options: RelayOptions,
  ) {
    client.owner = this.clientSide;
    upstream.owner = this.upstreamSide;
    options.metrics.openSockets.inc();
    options.deadlines.watch(this);
  }

  /** Bytes that came with the two heads. */
  begin(fromClient: Buffer | undefined, fromUpstream: Buffer | undefined): void {
    if (fromUpstream && fromUpstream.byteLength > 0) this.upstreamSide.onData(fromUpstream);
    if (fromClient && fromClient.byteLength > 0) this.clientSide.onData(fromClient);
    this.client.resume();
    this.upstream.resume();
  }

  /** Tells the client why, at the end of the frame it is getting, and lets go of the upstream. */
  close(code: number, reason: string, label = 'gateway', waitMs = CLOSE_WAIT_MS): void {
    if (this.ending) return;
    this.ending = true;
    this.reason = label;
    this.destroyAt = performance.now() + waitMs;
    if (this.toClient.sawClose) return this.client.end();
    this.pendingClose = closeFrame(code, reason);
    // In the middle of a frame: its rest comes first, if it comes.
    if (this.toClient.atBoundary) this.sendClose();
  }

  /** Drops both ends at once. */
  destroy(): void {
    this.client.destroy();
    this.upstream.destroy();
  }

  private sendClose(): void {
    this.upstream.destroy();
    this.client.write(this.pendingClose!);
    this.pendingClose = undefined;
    this.client.end();
  }

  private readonly upstreamSide: WireOwner = {
    onData: (chunk) => {
      if (this.ending && this.toClient.atBoundary) return;
      this.toClient.follow(chunk);
      if (!this.client.writeOwned(chunk)) this.upstream.pause();
      if (this.pendingClose && this.toClient.atBoundary) this.sendClose();
    },
    onDrain: () => this.client.resume(),
    onEnd: () => this.upstream.end(),
    onClose: () => {
      if (this.client.closed || this.ending) return;
      if (!this.toClient.atBoundary) return this.client.destroy();
      if (this.toClient.sawClose) this.close(CLOSE.serviceRestart, '', 'upstream');
      else this.close(CLOSE.serviceRestart, 'the service went away; connect again', 'upstream-lost');
    },
  };

  private readonly clientSide: WireOwner = {
    onData: (chunk) => {
      if (this.upstream.closed) return; // the client's half of a close that we began
      if (!this.toUpstream.follow(chunk)) this.close(CLOSE.tooBig, 'message too big', 'too-big');
      else if (!this.upstream.write(chunk)) this.client.pause();
    },
    onDrain: () => this.upstream.resume(),
    // A half-closed WebSocket is of no use to anybody.
    onEnd: () => {
      this.client.end();
      this.upstream.end();
      this.destroyAt ||= performance.now() + CLOSE_WAIT_MS;
      if (this.client.pending === 0) this.client.destroy();
    },
    onClose: () => {
      if (this.over) return;
      this.over = true;
      this.options.deadlines.forget(this);
      this.upstream.destroy();
      this.options.metrics.openSockets.dec();
      this.options.metrics.socketsClosed.inc({ reason: this.reason });
      this.options.onClosed();
    },
  };

  tick(now: number): void {
    const { stallMs } = this.options;
    if (this.destroyAt > 0) {
      if (now > this.destroyAt) this.destroy();
    } else if (this.client.pending > 0 && now - this.client.progressAt > stallMs) {
      this.close(CLOSE.tooSlow, 'reading too slowly', 'slow-client', stallMs / 2);
    } else if (this.upstream.pending > 0 && now - this.upstream.progressAt > stallMs) {
      this.close(CLOSE.tryAgainLater, 'the service is not keeping up', 'slow-upstream');
    }
  }
}
