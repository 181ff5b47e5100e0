import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../deploy/ports.ts';
import { eventually } from '../../gateway/testing.ts';

/** nginx as a proxy for the same routes as the gateway's, in one process on files of its own. */

export interface Nginx {
  port: number;
  version: string;
  stop(): Promise<void>;
}

/** The reason why there is none to be had, or undefined. */
export const noNginx = (): string | undefined =>
  spawnSync('nginx', ['-v'], { env: ENVIRONMENT }).status === 0 ? undefined : 'nginx is not installed';

/** Debian keeps it where only root looks. */
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

export async function startNginx(upstreamPort: number): Promise<Nginx> {
  const dir = mkdtempSync(join(tmpdir(), 'lyceum-nginx-'));
  mkdirSync(join(dir, 'tmp'));
  const [port] = await freePorts(1);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const file = join(dir, 'nginx.conf');
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log warn;
    events { worker_connections 512; }
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${dir}/tmp/${name};`).join(' ')}
      client_max_body_size 1m;
      large_client_header_buffers 4 16k;
      upstream service { server 127.0.0.1:${upstreamPort}; keepalive 16; }
      server {
        listen 127.0.0.1:${port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_read_timeout 1s;
        location /api/chat/ { proxy_pass http://service; }
        location /api/content/ { proxy_pass http://service; proxy_request_buffering off; proxy_buffering off; }
        location / { return 404; }
      }
    }`,
  );
  const child: ChildProcess = spawn('nginx', ['-p', dir, '-e', join(dir, 'error.log'), '-c', file], {
    stdio: 'ignore',
    env: ENVIRONMENT,
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await eventually(() => {
    if (child.exitCode !== null) throw new Error(`nginx: ${readFileSync(join(dir, 'error.log'), 'utf8')}`);
    return answers(port!);
  });
  const version = String(spawnSync('nginx', ['-v'], { env: ENVIRONMENT }).stderr).trim();
  return {
    port: port!,
    version,
    async stop() {
      child.kill('SIGKILL');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
