import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Program, start } from './programs.ts';

/**
 * One nginx with one worker, on files of its own. Both as upstream and as peer it keeps connections for as long as a
 * run lasts: its default of 1,000 requests a connection would make it open new ones all the time.
 */
export function startNginx(dir: string, http: string): Program {
  mkdirSync(join(dir, 'tmp'), { recursive: true });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = `
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    worker_processes 1;
    worker_rlimit_nofile 20000;
    daemon off;
    pid ${join(dir, 'nginx.pid')};
    error_log ${join(dir, 'error.log')} warn;
    events { worker_connections 16384; }
    http {
      ${temporary.map((name) => `${name}_temp_path ${join(dir, 'tmp', name)};`).join('\n      ')}
      keepalive_timeout 300s;
      keepalive_requests 10000000;
      sendfile on;
      ${http}
    }`;
  const file = join(dir, 'nginx.conf');
  writeFileSync(file, config);
  return start({
    file: 'nginx',
    args: ['-p', dir, '-e', join(dir, 'error.log'), '-c', file],
    log: join(dir, 'out.log'),
  });
}

/** A proxy for every route. `policies` go into the block `http`, `location` into every location. */
export function proxyBlocks(options: {
  port: number;
  routes: readonly { prefix: string; upstream: number }[];
  policies: string;
  location: string;
}): string {
  const { port, routes, policies, location } = options;
  const upstreams = [...new Set(routes.map((route) => route.upstream))];
  return `
      ${policies}
      ${upstreams
        .map(
          (upstream) =>
            `upstream u${upstream} { server 127.0.0.1:${upstream}; keepalive 2048; keepalive_requests 10000000; }`,
        )
        .join('\n      ')}
      map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server {
        listen 127.0.0.1:${port} backlog=4096;
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_set_header Connection $connection_upgrade;
        proxy_set_header Upgrade $http_upgrade;
        # A reply of 100 KB fits; without this nginx writes what does not fit to a file.
        proxy_buffers 16 16k;
        proxy_max_temp_file_size 0;
        ${routes
          .map(({ prefix, upstream }) => {
            // Streams as they come, like the other gateways; the default keeps whole bodies in a file first.
            const streams = prefix === '/api/content' ? 'proxy_request_buffering off;' : '';
            return `location ${prefix}/ { proxy_pass http://u${upstream}; ${streams} ${location} }`;
          })
          .join('\n        ')}
      }`;
}
