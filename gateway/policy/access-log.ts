import type { Log } from '../../shared/observability/log.ts';
import type { Exchange } from '../exchange.ts';
import type { GatewayMetrics } from '../metrics.ts';

/**
 * One line and one observation a request, once its connection is done with it. Never the query: signed links and
 * handshakes carry secrets there. A request that was given up on counts as 499, as nginx writes it.
 */
export function recordAccess(exchange: Exchange, log: Log, metrics: GatewayMetrics): void {
  const { request, response } = exchange;
  metrics.inFlight.inc();
  response.once('close', () => {
    metrics.inFlight.dec();
    const gaveUp = !response.writableFinished;
    const status = gaveUp && !response.headersSent ? 499 : response.statusCode;
    const seconds = (performance.now() - exchange.started) / 1_000;
    metrics.requests.observe(
      { method: request.method ?? '', route: exchange.route, status: String(status) },
      seconds,
    );
    if (exchange.upstream !== 'none') {
      metrics.upstreamRequests.observe(
        { upstream: exchange.upstream, status: `${Math.floor(status / 100)}xx` },
        seconds,
      );
    }
    log.info(
      {
        method: exchange.method,
        path: exchange.path.slice(0, 300),
        route: exchange.route,
        status,
        ms: Math.round(seconds * 1e6) / 1e3,
        bytes: exchange.bytesSent,
        address: exchange.address,
        requestId: exchange.requestId,
        traceId: exchange.traceId,
        ...(exchange.caller ? { userId: exchange.caller.userId } : {}),
        ...(gaveUp ? { cutOff: true } : {}),
      },
      'request',
    );
  });
}
