/** One replica of a service. */
export interface UpstreamAddress {
  hostname: string;
  port: number;
  /** `host:port`, as the Host header says it. */
  host: string;
  downUntil: number;
}

/** The replicas of one service, taken in turn. One that refused a connection is asked last for a moment. */
export class UpstreamPool {
  readonly addresses: UpstreamAddress[];
  private turn = 0;

  constructor(
    /** Label in metrics, logs and problems. */
    readonly name: string,
    urls: string[],
    private readonly downMs: number,
  ) {
    this.addresses = urls.map((url) => {
      const { hostname, port, host } = new URL(url);
      return { hostname: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80), host, downUntil: 0 };
    });
  }

  /** Every address once, the ones believed up first: when all are marked down, trying beats giving up. */
  order(): UpstreamAddress[] {
    const start = this.turn++ % this.addresses.length;
    const inTurn = [...this.addresses.slice(start), ...this.addresses.slice(0, start)];
    if (inTurn.length === 1) return inTurn;
    const now = Date.now();
    return [
      ...inTurn.filter(({ downUntil }) => downUntil <= now),
      ...inTurn.filter(({ downUntil }) => downUntil > now),
    ];
  }

  markDown(address: UpstreamAddress): void {
    address.downUntil = Date.now() + this.downMs;
  }

  markUp(address: UpstreamAddress): void {
    address.downUntil = 0;
  }
}
