import {
  Histogram,
  type HistogramConfiguration,
  type MetricObjectWithValues,
  type MetricValue,
} from 'prom-client';

export interface Series {
  values: readonly (string | number)[];
  /** Observations per bucket, the last one for all above. */
  counts: number[];
  sum: number;
}

/**
 * A histogram for places that observe tens of thousands of times a second: prom-client sorts and joins labels on each
 * call (1.6 µs), this looks a string up (0.1 µs) and makes the cumulative buckets only when somebody scrapes.
 */
export class QuickHistogram extends Histogram<string> {
  private readonly series = new Map<string, Series>();
  private readonly bounds: readonly number[];
  private readonly names: readonly string[];

  constructor(configuration: HistogramConfiguration<string> & { labelNames: string[]; buckets: number[] }) {
    super(configuration);
    this.bounds = configuration.buckets;
    this.names = configuration.labelNames;
  }

  /** At most three values, in the order of `labelNames`. */
  record(seconds: number, first: string, second: string | number, third: string | number = ''): void {
    this.recordIn(this.seriesOf(first, second, third), seconds);
  }

  /** For who records the same again and again: `recordIn` takes it without a look-up. Good until `reset`. */
  seriesOf(first: string, second: string | number, third: string | number = ''): Series {
    const key = `${first} ${second} ${third}`;
    let series = this.series.get(key);
    if (!series) {
      series = {
        values: [first, second, third],
        counts: Array<number>(this.bounds.length + 1).fill(0),
        sum: 0,
      };
      this.series.set(key, series);
    }
    return series;
  }

  recordIn(series: Series, seconds: number): void {
    let bucket = 0;
    while (bucket < this.bounds.length && seconds > this.bounds[bucket]!) bucket++;
    series.counts[bucket]!++;
    series.sum += seconds;
  }

  override async get(): Promise<MetricObjectWithValues<MetricValue<string>>> {
    const { name, help, aggregator } = this as unknown as {
      name: string;
      help: string;
      aggregator: MetricObjectWithValues<MetricValue<string>>['aggregator'];
    };
    const values: (MetricValue<string> & { metricName: string })[] = [];
    for (const { values: of, counts, sum } of this.series.values()) {
      const labels = Object.fromEntries(this.names.map((label, index) => [label, of[index]!]));
      let total = 0;
      for (const [index, count] of counts.entries()) {
        total += count;
        const le = this.bounds[index] ?? '+Inf';
        values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: total });
      }
      values.push({ metricName: `${name}_sum`, labels, value: sum });
      values.push({ metricName: `${name}_count`, labels, value: total });
    }
    return {
      name,
      help,
      type: 'histogram' as never,
      aggregator,
      collect: () => {},
      values,
    } as MetricObjectWithValues<MetricValue<string>>;
  }

  /** What the registry asks for when it writes the text format. */
  getForPromString(): Promise<MetricObjectWithValues<MetricValue<string>>> {
    return this.get();
  }

  override reset(): void {
    // The base class calls this before there is anything.
    this.series?.clear();
  }
}
