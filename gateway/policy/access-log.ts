import { createLineLog, type Log } from '../../shared/observability/log.ts';
import type { Series } from '../../shared/observability/quick-histogram.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { isKnownMethod } from './method.ts';

export interface AccessLog {
  /** Once the reply has gone out, or was cut off. */
  record(exchange: Exchange, cutOff: boolean): void;
  /** Writes what is left. */
  close(): void;
}

/**
 * One line and one observation a request. Never the query: signed links and handshakes carry secrets there. A request
 * that was given up on counts as 499, as nginx writes it. Of the requests that went well only the share `accessLogSample` is
 * written; what failed always is.
 */
export function createAccessLog(
  log: Log,
  metrics: GatewayMetrics,
  config: { accessLogSample: number },
): AccessLog {
  const lines = createLineLog(log, 'gateway');
  let share = 0;
  /** By route, then by status and method: the series of the few combinations there are. */
  const known = new Map<string, Map<string, Series[]>[]>();

  function observe(method: string, route: string, upstream: string, status: number, seconds: number): void {
    const byStatus = known.get(route) ?? [];
    if (byStatus.length === 0) known.set(route, byStatus);
    byStatus[status] ??= new Map();
    let series = byStatus[status].get(method);
    if (!series) {
      series = [metrics.requests.seriesOf(method, route, status)];
      byStatus[status].set(method, series);
    }
    metrics.requests.recordIn(series[0]!, seconds);
    if (upstream === 'none') return;
    series[1] ??= metrics.upstreamRequests.seriesOf(upstream, CLASSES[(status / 100) | 0]!);
    metrics.upstreamRequests.recordIn(series[1], seconds);
  }

  return {
    record(exchange, cutOff) {
      const { method, route, upstream } = exchange;
      const status = exchange.replyStarted ? exchange.status : 499;
      const ms = performance.now() - exchange.started;
      observe(isKnownMethod(method) ? method : 'other', route, upstream, status, ms / 1_000);
      const sample = config.accessLogSample;
      if (sample < 1 && status < 400 && !cutOff) {
        share += sample;
        if (share < 1) return;
        share -= 1;
      }
      if (!lines.enabled) return;
      const { path, address, requestId, caller } = exchange;
      // A normalised path has nothing in it that JSON would escape; ids and addresses were checked when they came.
      lines.write(
        `,"method":"${method}","path":"${path.length > 300 ? path.slice(0, 300) : path}","route":"${route}"` +
          `,"status":${status},"ms":${Math.round(ms * 1e3) / 1e3},"bytes":${exchange.bytesSent},"address":"${address}"` +
          `,"requestId":"${requestId}","traceId":"${exchange.traceId}"${caller ? `,"userId":"${caller.userId}"` : ''}` +
          `${cutOff ? ',"cutOff":true' : ''},"msg":"request"`,
      );
    },
    close: lines.close,
  };
}

const CLASSES = ['', '1xx', '2xx', '3xx', '4xx', '5xx'];
