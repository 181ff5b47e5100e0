import { createWriteStream } from 'node:fs';
import { Agent } from 'node:http';
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import { createProxyMiddleware } from 'http-proxy-middleware';
import morgan from 'morgan';
import { settings } from './token.mjs';

/** A gateway of Express as its packages' own pages set it up, with keep-alive to the upstreams. */

const { port, routes, accessLog, checkToken } = settings;
const app = express();
app.disable('x-powered-by');

app.use(morgan('combined', { stream: createWriteStream(accessLog, { flags: 'a' }) }));
app.use(
  rateLimit({ windowMs: 60_000, limit: 1_000_000_000, standardHeaders: 'draft-8', legacyHeaders: false }),
);
app.use((request, response, next) => {
  checkToken(request.headers.authorization).then(
    (caller) => {
      request.caller = caller;
      next();
    },
    () => response.status(401).json({ code: 'unauthenticated' }),
  );
});

const agent = new Agent({ keepAlive: true, maxFreeSockets: 2_048 });
const sockets = [];
for (const { prefix, upstream } of routes) {
  const target = `http://127.0.0.1:${upstream}`;
  const proxy = createProxyMiddleware({ target, agent, pathFilter: prefix, xfwd: true });
  if (prefix === '/socket.io') sockets.push(createProxyMiddleware({ target, ws: true, xfwd: true }));
  else app.use(proxy);
}

const server = app.listen({ port, host: '127.0.0.1', backlog: 4_096 });
for (const proxy of sockets) server.on('upgrade', proxy.upgrade);
