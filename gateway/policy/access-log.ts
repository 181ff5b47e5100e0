import { createLineLog, type Log } from '../../shared/observability/log.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';

export interface AccessLog {
  /** Once the reply has gone out, or was cut off. */
  record(exchange: Exchange, cutOff: boolean): void;
  /** Writes what is left. */
  close(): void;
}

/**
 * One line and one observation a request. Never the query: signed links and handshakes carry secrets there. A request
 * that was given up on counts as 499, as nginx writes it. Of the requests that went well only the share `sample` is
 * written; what failed always is.
 */
export function createAccessLog(log: Log, metrics: GatewayMetrics, sample: number): AccessLog {
  const lines = createLineLog(log, 'gateway');
  let share = 0;
  return {
    record(exchange, cutOff) {
      const { method, route, upstream } = exchange;
      const status = exchange.replyStarted ? exchange.status : 499;
      const ms = performance.now() - exchange.started;
      metrics.requests.record(ms / 1_000, method, route, status);
      if (upstream !== 'none') metrics.upstreamRequests.record(ms / 1_000, upstream, CLASSES[(status / 100) | 0]!);
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
