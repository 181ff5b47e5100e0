import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Histogram } from './histogram.ts';

/**
 * The load generator, a process of its own: many Socket.IO connections spoken by hand (Engine.IO 4 over WebSocket),
 * because at these rates a client library would cost more than the server. Commands come as JSON lines on standard
 * input, each answered by one JSON line.
 */

export interface Target {
  url: string;
  token: string;
  roomId: string;
}

export type Command =
  | { do: 'connect'; file: string; perSecond: number }
  /** Each sender sends again when `window` of its own are no longer unacknowledged. */
  | { do: 'closed-loop'; seconds: number; senders: number; window: number }
  /** `rate` messages a second, whatever the server does. */
  | { do: 'open-loop'; seconds: number; rate: number }
  | { do: 'reconnect'; perSecond: number }
  | { do: 'disconnect' };

export interface Connected {
  connected: number;
  failed: number;
  seconds: number;
  errors: string[];
}

export interface Latency {
  p50: number;
  p99: number;
  max: number;
}

export interface Measured {
  seconds: number;
  acked: number;
  refused: number;
  refusals: Record<string, number>;
  delivered: number;
  /** With those that came after the last send. */
  deliveredInAll: number;
  /** Deliveries that each socket should have had until the end, and didn't. */
  lost: number;
  doubled: number;
  outOfOrder: number;
  ackMs: Latency;
  deliveryMs: Latency;
  /** CPU seconds of this process while it measured. */
  cpu: number;
}

const EVENT = '42["message",';
/** After the last send, what is still on its way gets so long. */
const SETTLE_MS = 1_500;

let measuring = false;
let acks = new Histogram();
let deliveries = new Histogram();
let delivered = 0;
let doubled = 0;
let outOfOrder = 0;
let refusals: Record<string, number> = {};
const highest = new Map<string, number>();
const epoch = performance.now();
const now = (): number => performance.now() - epoch;

class Peer {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (reply: string) => void>();
  #nextAck = 1;
  seq = -1;
  joined: Promise<void>;

  constructor(readonly target: Target) {
    const url = `${target.url.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`;
    this.#socket = new WebSocket(url);
    this.joined = new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(why));
      this.#socket.onclose = (event) => {
        fail(`closed ${event.code}`);
        if (measuring) refusals[`closed ${event.code}`] = (refusals[`closed ${event.code}`] ?? 0) + 1;
      };
      this.#socket.onerror = () => fail('connection failed');
      this.#socket.onmessage = ({ data }) => {
        const text = data as string;
        if (text.startsWith(EVENT)) this.#onMessage(text);
        else if (text.startsWith('43')) this.#onAck(text);
        else if (text === '2') this.#socket.send('3');
        else if (text.startsWith('0')) this.#socket.send(`40${JSON.stringify({ token: target.token })}`);
        else if (text.startsWith('44')) fail(text);
        else if (text.startsWith('40')) this.#join().then(resolve, reject);
      };
    });
  }

  async #join(): Promise<void> {
    const reply = await this.#ask('room:join', `{"roomId":"${this.target.roomId}"}`);
    if (!reply.startsWith('[{"ok":true')) throw new Error(`join: ${reply.slice(0, 200)}`);
    this.seq = Number(
      /"lastSeq":(\d+),"hasMore"/.exec(reply)?.[1] ?? /"lastSeq":(\d+)/.exec(reply)?.[1] ?? 0,
    );
  }

  #ask(event: string, body: string): Promise<string> {
    const id = this.#nextAck++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(`42${id}["${event}",${body}]`);
    });
  }

  #onAck(text: string): void {
    const bracket = text.indexOf('[');
    const id = Number(text.slice(2, bracket));
    const resolve = this.#waiting.get(id);
    this.#waiting.delete(id);
    resolve?.(text.slice(bracket));
  }

  #onMessage(text: string): void {
    const at = text.indexOf('"seq":') + 6;
    let seq = 0;
    for (let index = at; ; index++) {
      const digit = text.charCodeAt(index) - 48;
      if (digit < 0 || digit > 9) break;
      seq = seq * 10 + digit;
    }
    if (seq === this.seq + 1) this.seq = seq;
    else if (seq <= this.seq) doubled++;
    else {
      outOfOrder++;
      this.seq = seq;
    }
    delivered++;
    if (!measuring) return;
    const sent = text.indexOf('"body":"@') + 9;
    deliveries.add(now() - Number.parseFloat(text.slice(sent, sent + 20)));
  }

  /** Resolves when it was acknowledged; false if it was refused. */
  async send(): Promise<boolean> {
    const started = now();
    const clientId = `${this.target.roomId.slice(-4)}${started.toFixed(3)}-${this.#nextAck}`;
    const reply = await this.#ask(
      'message:send',
      `{"roomId":"${this.target.roomId}","clientId":"${clientId}","body":"@${started.toFixed(3)} ${TEXT}"}`,
    );
    if (reply.startsWith('[{"ok":true')) {
      if (measuring) acks.add(now() - started);
      const seq = Number(/"seq":(\d+)/.exec(reply)?.[1]);
      if (seq > (highest.get(this.target.roomId) ?? 0)) highest.set(this.target.roomId, seq);
      return true;
    }
    const code = /"code":"([\w-]+)"/.exec(reply)?.[1] ?? 'unknown';
    refusals[code] = (refusals[code] ?? 0) + 1;
    return false;
  }

  close(): void {
    this.#socket.onclose = null;
    this.#socket.close();
  }
}

const TEXT = 'The quick brown fox jumps over the lazy dog and says hello.';

let peers: Peer[] = [];

async function connect(targets: Target[], perSecond: number): Promise<Connected> {
  const started = performance.now();
  const errors: string[] = [];
  const opening: Promise<void>[] = [];
  const opened: Peer[] = [];
  for (const [index, target] of targets.entries()) {
    const due = started + (index / perSecond) * 1000;
    if (due > performance.now()) await Bun.sleep(due - performance.now());
    const peer = new Peer(target);
    opening.push(
      peer.joined.then(
        () => void opened.push(peer),
        (error: Error) => void errors.push(error.message),
      ),
    );
  }
  await Promise.all(opening);
  peers = [...peers, ...opened];
  return {
    connected: opened.length,
    failed: errors.length,
    seconds: (performance.now() - started) / 1000,
    errors: [...new Set(errors)].slice(0, 5),
  };
}

async function measure(
  seconds: number,
  load: (until: number) => Promise<{ acked: number }>,
): Promise<Measured> {
  acks = new Histogram();
  deliveries = new Histogram();
  refusals = {};
  delivered = doubled = outOfOrder = 0;
  measuring = true;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const { acked } = await load(started + seconds * 1000);
  const took = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  const inTime = delivered;
  await Bun.sleep(SETTLE_MS);
  measuring = false;
  const lost = peers.reduce(
    (sum, peer) => sum + Math.max(0, (highest.get(peer.target.roomId) ?? peer.seq) - peer.seq),
    0,
  );
  return {
    seconds: took,
    acked,
    refused: Object.values(refusals).reduce((sum, count) => sum + count, 0),
    refusals,
    delivered: inTime,
    deliveredInAll: delivered,
    lost,
    doubled,
    outOfOrder,
    ackMs: acks.summary(),
    deliveryMs: deliveries.summary(),
    cpu: (used.user + used.system) / 1e6,
  };
}

async function closedLoop(until: number, senders: number, window: number): Promise<{ acked: number }> {
  let acked = 0;
  const one = async (peer: Peer): Promise<void> => {
    while (performance.now() < until) if (await peer.send()) acked++;
  };
  await Promise.all(
    peers.slice(0, senders).flatMap((peer) => Array.from({ length: window }, () => one(peer))),
  );
  return { acked };
}

async function openLoop(until: number, rate: number): Promise<{ acked: number }> {
  let acked = 0;
  let sent = 0;
  const sends: Promise<void>[] = [];
  const started = performance.now();
  while (performance.now() < until) {
    for (; sent < ((performance.now() - started) / 1000) * rate; sent++) {
      const peer = peers[(sent * 7919) % peers.length]!;
      const counted = peer.send().then((ok) => {
        acked += Number(ok);
      });
      sends.push(counted);
    }
    await Bun.sleep(1);
  }
  await Promise.race([Promise.all(sends), Bun.sleep(10_000)]);
  return { acked };
}

function disconnect(): void {
  for (const peer of peers) peer.close();
  peers = [];
  highest.clear();
}

async function obey(command: Command): Promise<object> {
  switch (command.do) {
    case 'connect':
      return connect(JSON.parse(readFileSync(command.file, 'utf8')) as Target[], command.perSecond);
    case 'closed-loop':
      return measure(command.seconds, (until) => closedLoop(until, command.senders, command.window));
    case 'open-loop':
      return measure(command.seconds, (until) => openLoop(until, command.rate));
    case 'reconnect': {
      const targets = peers.map(({ target }) => target);
      disconnect();
      return connect(targets, command.perSecond);
    }
    case 'disconnect':
      disconnect();
      return {};
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await obey(JSON.parse(line) as Command)));
}
