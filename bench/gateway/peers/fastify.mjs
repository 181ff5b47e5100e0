import proxy from '@fastify/http-proxy';
import rateLimit from '@fastify/rate-limit';
import fastify from 'fastify';
import pino from 'pino';
import { settings } from './token.mjs';

/** A gateway of Fastify as its plugins' own pages set it up, with as many upstream connections as clients. */

const { port, routes, accessLog, checkToken } = settings;
const app = fastify({
  // Fastify's default is two lines a request; one, as the others write, is less work.
  disableRequestLogging: true,
  loggerInstance: pino(
    pino.destination({ dest: accessLog, sync: false, minLength: 4_096, periodicFlush: 1_000 }),
  ),
});
app.addHook('onResponse', (request, reply, done) => {
  request.log.info(
    {
      method: request.method,
      url: request.url,
      status: reply.statusCode,
      ms: reply.elapsedTime,
      address: request.ip,
    },
    'request',
  );
  done();
});

await app.register(rateLimit, { max: 1_000_000_000, timeWindow: '1 minute' });

const withToken = async (request, reply) => {
  try {
    request.caller = await checkToken(request.headers.authorization);
  } catch {
    return reply.code(401).send({ code: 'unauthenticated' });
  }
};
app.decorateRequest('caller', null);

for (const { prefix, upstream } of routes) {
  const websocket = prefix === '/socket.io';
  await app.register(proxy, {
    upstream: `http://127.0.0.1:${upstream}`,
    prefix,
    rewritePrefix: prefix,
    websocket,
    // As in the other gateways the token of a socket is the upstream's to check.
    ...(websocket ? {} : { preHandler: withToken }),
    undici: { connections: 1_024 },
  });
}

await app.listen({ port, host: '127.0.0.1', backlog: 4_096 });
