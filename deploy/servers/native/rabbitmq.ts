import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../backend.ts';
import { type Command, run } from '../process.ts';
import { isFree } from '../state.ts';
import { rabbitmqProgram } from './debian.ts';

/**
 * Writes configuration, plugins and Erlang cookie and says how to start RabbitMQ: a node with a name, a port mapper
 * (epmd) and folders of its own, so that nothing of a node of the machine is read or written.
 */
export async function prepareRabbitmq({ dir, state }: Context): Promise<Command> {
  const program = await rabbitmqProgram();
  if (!program) throw new Error('The program rabbitmq-server is missing.');
  const folder = join(dir, 'rabbitmq');
  const home = join(folder, 'home');
  mkdirSync(home, { recursive: true });

  const cookie = join(home, '.erlang.cookie');
  // Erlang demands this mode, and a file that nobody may write cannot be written again.
  if (!existsSync(cookie)) writeFileSync(cookie, state.secrets.erlangCookie, { mode: 0o400 });
  writeFileSync(join(folder, 'enabled_plugins'), '[rabbitmq_management].\n');
  writeFileSync(join(folder, 'rabbitmq.conf'), configuration(state), { mode: 0o600 });
  rmSync(join(folder, 'rabbitmq.pid'), { force: true });

  return {
    file: program,
    args: [],
    cwd: folder,
    env: {
      HOME: home,
      // With a terminal allowed the script becomes the node itself, instead of a parent that a kill would miss.
      RABBITMQ_ALLOW_INPUT: 'true',
      RABBITMQ_SERVER_START_ARGS: '-noinput',
      RABBITMQ_NODENAME: `lyceum-${state.id}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(state.ports.rabbitmq),
      RABBITMQ_DIST_PORT: String(state.ports['rabbitmq.distribution']),
      // Erlang's schedulers would spin while idle, at the cost of everything else on a small machine.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}',
      RABBITMQ_CONF_ENV_FILE: join(folder, 'none.conf'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
      RABBITMQ_CONFIG_FILES: join(folder, 'none.d'),
      RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'none.config'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_GENERATED_CONFIG_DIR: join(folder, 'generated'),
      RABBITMQ_PID_FILE: join(folder, 'rabbitmq.pid'),
      ...epmd(state),
    },
  };
}

/** Erlang starts a port mapper with the first node and leaves it running; ours ends with our node. */
export async function stopEpmd({ state }: Context): Promise<void> {
  const port = state.ports['rabbitmq.epmd'];
  for (let attempt = 0; attempt < 20 && !(await isFree(port)); attempt++) {
    await run({ file: 'epmd', args: ['-kill'], env: epmd(state) }, 10_000).catch(() => {});
    await new Promise((done) => setTimeout(done, 100)); // it refuses as long as it knows of the node
  }
}

function epmd(state: Context['state']): Record<string, string> {
  return { ERL_EPMD_PORT: String(state.ports['rabbitmq.epmd']), ERL_EPMD_ADDRESS: '127.0.0.1' };
}

function configuration({ ports, secrets }: Context['state']): string {
  const lines = [
    `listeners.tcp.1 = 127.0.0.1:${ports.rabbitmq}`,
    'management.tcp.ip = 127.0.0.1',
    `management.tcp.port = ${ports['rabbitmq.management']}`,
    // The first start makes this account, and with it there is no guest.
    'default_user = lyceum',
    `default_pass = ${secrets.rabbitmq}`,
    'disk_free_limit.absolute = 200MB',
    'log.file = false',
    'log.console = true',
  ];
  return `${lines.join('\n')}\n`;
}
