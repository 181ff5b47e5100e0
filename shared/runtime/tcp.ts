/**
 * Byte streams as the runtime gives them, with nothing between us and the kernel: what the gateway's own HTTP engine
 * stands on. `Bun.listen` and `Bun.connect` cost a third of `node:net` per event (docs/performance.md).
 */

/** Who hears of a connection. Every method is called by the runtime, never from within `write`. */
export interface WireOwner {
  /** `chunk` is the owner's to keep. */
  onData(chunk: Buffer): void;
  /** Everything that had waited has gone to the kernel. */
  onDrain(): void;
  /** The other side sends no more; we still may. */
  onEnd(): void;
  /** Once, at the end of every connection, also of one that never came about. */
  onClose(error: Error | undefined): void;
}

export interface OutgoingOwner extends WireOwner {
  onOpen(): void;
}

/** One connection. What the kernel does not take is kept here: a writer that heeds `false` bounds it. */
export interface Wire {
  owner: WireOwner;
  readonly remoteAddress: string;
  /** Bytes that the kernel has not taken yet. */
  readonly pending: number;
  /** `performance.now()` when the kernel last took bytes that had waited, or they began to wait. */
  readonly progressAt: number;
  readonly closed: boolean;
  /** False: enough waits here; go on at `onDrain`. */
  write(bytes: Uint8Array): boolean;
  /** The same, for bytes that nobody looks at afterwards: the memory of a large chunk is given back at once. */
  writeOwned(bytes: Uint8Array): boolean;
  /** The same for a text of latin1 characters and what follows it: one system call where they are small together. */
  writeText(text: string, pieces: readonly Uint8Array[]): boolean;
  pause(): void;
  resume(): void;
  /** Closes our side once everything written has gone out. */
  end(): void;
  /** Closes both sides and hears nothing more; what was written still goes out, even to a slow reader. */
  close(): void;
  /** Closes at once; with a reset, so that what was cut never looks complete. */
  destroy(): void;
}

export interface TlsFiles {
  /** PEM texts. */
  cert: string;
  key: string;
}

export interface Listener {
  port: number;
  /** For new connections. Throws, and leaves all as it is, if the two are of no use. */
  useTls(tls: TlsFiles): void;
  /** Takes no new connections; those there are stay. */
  stop(): void;
}

/** Listens for connections. Throws when the address can't be had. */
export function listenTcp(options: {
  hostname: string;
  /** 0 picks a free port. */
  port: number;
  /** Several processes on one port (SO_REUSEPORT): the kernel spreads connections over them. */
  reusePort: boolean;
  tls?: TlsFiles | undefined;
  /** With TLS, what is offered to clients besides HTTP/1.1 (ALPN, RFC 7301), and who is told that one has taken it. */
  alternative?: { protocol: string; onChosen: (wire: Wire) => void } | undefined;
  onConnection: (wire: Wire) => WireOwner;
}): Listener {
  const { hostname, port, reusePort, alternative, onConnection } = options;
  const socket = {
    ...handlers,
    open(opened: BunSocket) {
      const wire = new BunWire();
      opened.data = wire;
      wire.opened(opened);
      wire.owner = onConnection(wire);
    },
  };
  const listen = (
    where: { hostname: string; port: number; reusePort: boolean } | { fd: number },
    tls?: TlsFiles,
  ) =>
    Bun.listen<BunWire>({
      ...where,
      allowHalfOpen: true,
      ...(tls ? { tls: { ...tls, ...offer }, socket: { ...socket, handshake: onHandshake } } : { socket }),
    } as Bun.TCPSocketListenOptions<BunWire>) as Bun.TCPSocketListener<BunWire> & { fd: number };
  const offer = alternative ? { ALPNProtocols: protocolList([alternative.protocol, 'http/1.1']) } : {};
  // Only if somebody hears of handshakes, the runtime tells of a connection before its own is done: whoever never ends
  // one would be kept for ever.
  function onHandshake(opened: BunSocket & { alpnProtocol?: string | false }, succeeded: boolean): void {
    if (!succeeded) opened.data.destroy();
    else if (alternative && opened.alpnProtocol === alternative.protocol) alternative.onChosen(opened.data);
  }
  let listener: ReturnType<typeof listen>;
  try {
    listener = listen({ hostname, port, reusePort }, options.tls);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    // The runtime does not say which port, nor why.
    if (syscall === 'listen')
      throw new Error(`Can not listen at ${hostname}:${port}: ${code}`, { cause: error });
    throw error;
  }
  return {
    port: listener.port,
    useTls(tls) {
      // A second listener on the same socket of the kernel: a new socket beside it would leave behind, with the old
      // one, the connections that the kernel has taken and nobody has accepted (measured: 119 of 33,000).
      const fd = duplicate(listener.fd);
      let next: typeof listener;
      try {
        next = listen({ fd }, tls);
      } catch (error) {
        closeDescriptor(fd);
        throw error;
      }
      listener.stop(false);
      listener = next;
    },
    stop: () => listener.stop(false),
  };
}

/** RFC 7301, 3.1: each with its length in front. */
const protocolList = (names: readonly string[]): Buffer =>
  Buffer.concat(names.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));

interface ForeignFunctions {
  dlopen(
    library: string,
    functions: Record<string, { args: string[]; returns: string }>,
  ): { symbols: { dup(fd: number): number; close(fd: number): number } };
}

/** `dup` and `close` of the C library, which the runtime does not hand out. */
let descriptors: ReturnType<ForeignFunctions['dlopen']>['symbols'] | undefined;
function cLibrary(): NonNullable<typeof descriptors> {
  if (descriptors) return descriptors;
  const ffi = process.getBuiltinModule('bun:ffi') as ForeignFunctions | undefined;
  const one = { args: ['i32'], returns: 'i32' };
  for (const name of ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libSystem.B.dylib']) {
    try {
      descriptors = ffi?.dlopen(name, { dup: one, close: one }).symbols;
      if (descriptors) return descriptors;
    } catch {
      // Another system has another name for it.
    }
  }
  throw new Error('This system does not let a listener be duplicated: restart for the new certificate.');
}

function duplicate(fd: number): number {
  const copy = cLibrary().dup(fd);
  if (copy < 0) throw new Error('The listener could not be duplicated.');
  return copy;
}

const closeDescriptor = (fd: number): void => void cLibrary().close(fd);

/** Begins to connect. `owner.onOpen` or `owner.onClose` follows, not before this call has returned. */
export function connectTcp(address: { hostname: string; port: number }, owner: OutgoingOwner): Wire {
  const wire = new BunWire();
  wire.owner = owner;
  Bun.connect<BunWire>({
    ...address,
    data: wire,
    allowHalfOpen: true,
    socket: outgoingHandlers,
  } as Bun.TCPSocketConnectOptions<BunWire>).catch((error) => wire.onClosed(error));
  return wire;
}

/** Up to here copying costs less than another system call. In bytes. */
const GATHER_BYTES = 65_536;
/** Where small writes are put together: what the kernel does not take of them is copied out, so one place serves all. */
const gathered = Buffer.allocUnsafeSlow(GATHER_BYTES);

type BunSocket = Bun.Socket<BunWire>;

const NOBODY: WireOwner = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} };

/**
 * So much may wait in a connection before its writer is held up: while the kernel sends the last chunk, the next one
 * is read (a download of 1 GiB: 0.61 s instead of 0.79 s).
 */
const ENOUGH_PENDING_BYTES = 262_144;

interface Outgoing {
  bytes: Uint8Array;
  owned: boolean;
}

const LARGE_CHUNK_BYTES = 65_536;

const isWholeChunk = (bytes: Uint8Array): boolean =>
  bytes.byteLength >= LARGE_CHUNK_BYTES && bytes.byteLength === bytes.buffer.byteLength;

/**
 * Frees what a chunk holds by moving it into nothing. Left to the collector, which sees only the small object around it,
 * a fast download has some 60 MB of used chunks about, and the next chunk gets fresh pages instead of the last one's.
 */
const giveBack = (bytes: Uint8Array): void =>
  void (bytes.buffer as ArrayBuffer & { transfer(length: number): ArrayBuffer }).transfer(0);

class BunWire implements Wire {
  owner: WireOwner = NOBODY;
  remoteAddress = '';
  pending = 0;
  progressAt = 0;
  closed = false;
  private socket: BunSocket | undefined;
  private waiting: Outgoing[] = [];
  private ending = false;
  private paused = false;

  opened(socket: BunSocket): void {
    this.socket = socket;
    this.remoteAddress = socket.remoteAddress ?? '';
    socket.setNoDelay(true);
  }

  write(bytes: Uint8Array): boolean {
    return this.send(bytes, false);
  }

  writeOwned(bytes: Uint8Array): boolean {
    return this.send(bytes, isWholeChunk(bytes));
  }

  private send(bytes: Uint8Array, owned: boolean): boolean {
    if (this.closed || this.ending) return true;
    let taken = 0;
    if (this.waiting.length === 0 && this.socket) {
      taken = this.socket.write(bytes);
      if (taken === bytes.byteLength) {
        if (owned) giveBack(bytes);
        return true;
      }
      // -1: the connection has just ended; `close` follows.
      if (taken < 0) taken = 0;
      this.progressAt = performance.now();
    }
    this.keep(taken === 0 ? bytes : bytes.subarray(taken), owned);
    return this.pending < ENOUGH_PENDING_BYTES;
  }

  writeText(text: string, pieces: readonly Uint8Array[]): boolean {
    let size = text.length;
    for (const piece of pieces) size += piece.byteLength;
    if (size > GATHER_BYTES || this.waiting.length > 0 || !this.socket || this.closed || this.ending) {
      let taken = text === '' || this.write(Buffer.from(text, 'latin1'));
      for (const piece of pieces) taken = this.write(piece) && taken;
      return taken;
    }
    let end = gathered.write(text, 0, 'latin1');
    for (const piece of pieces) {
      gathered.set(piece, end);
      end += piece.byteLength;
    }
    const taken = this.socket.write(gathered, 0, size);
    if (taken === size) return true;
    this.progressAt = performance.now();
    this.keep(Buffer.from(gathered.subarray(Math.max(0, taken), size)), false);
    return false;
  }

  private keep(bytes: Uint8Array, owned: boolean): void {
    this.waiting.push({ bytes, owned });
    this.pending += bytes.byteLength;
  }

  onWritable(): void {
    if (this.waiting.length === 0) return;
    while (this.waiting.length > 0) {
      const first = this.waiting[0]!;
      const { bytes, owned } = first;
      const taken = this.socket!.write(bytes);
      if (taken <= 0) return;
      this.progressAt = performance.now();
      this.pending -= taken;
      if (taken < bytes.byteLength) {
        first.bytes = bytes.subarray(taken);
        return;
      }
      this.waiting.shift();
      if (owned) giveBack(bytes);
    }
    if (this.ending) this.socket!.shutdown();
    else this.owner.onDrain();
  }

  pause(): void {
    if (this.paused || this.closed) return;
    this.paused = true;
    this.socket?.pause();
  }

  resume(): void {
    if (!this.paused || this.closed) return;
    this.paused = false;
    this.socket?.resume();
  }

  end(): void {
    if (this.ending || this.closed) return;
    this.ending = true;
    // A paused socket would never hear that the other side has closed too.
    this.resume();
    if (this.waiting.length === 0) this.socket?.shutdown();
  }

  close(): void {
    if (this.closed) return;
    // Without the reset that `terminate` sends: the kernel goes on with what it holds.
    this.socket?.end();
    this.onClosed(undefined);
  }

  destroy(): void {
    if (this.closed) return;
    if (this.socket) this.socket.terminate();
    this.onClosed(undefined);
  }

  onClosed(error: Error | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.waiting = [];
    this.pending = 0;
    this.owner.onClose(error);
  }
}

const handlers = {
  data(socket: BunSocket, chunk: Buffer): void {
    socket.data.owner.onData(chunk);
  },
  drain(socket: BunSocket): void {
    socket.data.onWritable();
  },
  end(socket: BunSocket): void {
    socket.data.owner.onEnd();
  },
  close(socket: BunSocket, error?: Error): void {
    socket.data.onClosed(error);
  },
  error(socket: BunSocket, error: Error): void {
    socket.data.onClosed(error);
    socket.terminate();
    // The runtime also hands over here what an owner has thrown: a fault of ours, which must not pass unseen.
    if (!('syscall' in error) && !('code' in error))
      queueMicrotask(() => {
        throw error;
      });
  },
};

const outgoingHandlers = {
  ...handlers,
  open(socket: BunSocket): void {
    const wire = socket.data;
    if (wire.closed) return void socket.terminate();
    wire.opened(socket);
    (wire.owner as OutgoingOwner).onOpen();
    wire.onWritable();
  },
  connectError(socket: BunSocket, error: Error): void {
    socket.data.onClosed(error);
  },
};
