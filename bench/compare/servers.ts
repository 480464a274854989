/** The servers behind the compared services: started on a free port of 127.0.0.1 with their data in a directory. */
import { spawnSync } from 'node:child_process'
import { existsSync, realpathSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { freePort } from '../../tools/free-port.ts'
import { type Child, isListening, startProgram, until } from '../lib/child.ts'

/** A program that stores messages. */
export interface Server {
  name: string
  /** How to install it, for people. */
  install: string
  /** Its version; undefined when it is not installed. */
  version(): string | undefined
  /** @returns Its processes, the one that will listen on `port` last. */
  start(port: number, directory: string): Promise<Child[]>
}

export const REDIS: Server = {
  name: 'Redis',
  install: 'apt-get install redis-server',
  version: () => versionOf('redis-server', ['--version']),
  async start(port, directory) {
    const flags = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '']
    return [startProgram('redis-server', [...flags, '--appendonly', 'yes', '--appendfsync', 'always'])]
  },
}

/**
 * Where the server is. Debian's command of this name changes to a user of its own, which cannot write into our
 * directory: its directory comes first.
 */
function rabbitmqCommand(): string | undefined {
  const directories = ['/usr/lib/rabbitmq/bin', ...(process.env['PATH'] ?? '').split(delimiter)]
  return directories.map((directory) => join(directory, 'rabbitmq-server')).find((file) => existsSync(file))
}

export const RABBITMQ: Server = {
  name: 'RabbitMQ',
  install: 'apt-get install rabbitmq-server',
  version() {
    // Not asked of rabbitmqctl, which leaves a daemon behind. Installations have a directory rabbitmq_server-VERSION.
    const command = rabbitmqCommand()
    return command && (versionIn(realpathSync(command)) ?? 'of unknown version')
  },
  async start(port, directory) {
    // Without it, the server starts a daemon that outlives it.
    const epmdPort = await freePort()
    const epmd = startProgram('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'])
    await until(epmd, 'epmd', () => isListening(epmdPort))
    const env = {
      HOME: directory,
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_ALLOW_INPUT: 'true', // The server replaces the shell that starts it.
      RABBITMQ_NODENAME: `bench-${process.pid}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(await freePort()),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}',
      RABBITMQ_CONF_ENV_FILE: join(directory, 'none'),
      RABBITMQ_CONFIG_FILE: join(directory, 'none'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'none'),
      RABBITMQ_MNESIA_BASE: join(directory, 'data'),
      RABBITMQ_LOG_BASE: join(directory, 'log'),
    }
    return [epmd, startProgram(rabbitmqCommand()!, ['-noinput'], { env })]
  },
}

export const NATS: Server = {
  name: 'nats-server',
  install: 'go install github.com/nats-io/nats-server/v2@latest',
  version: () => versionOf('nats-server', ['--version']),
  async start(port, directory) {
    const config = join(directory, 'nats.conf')
    const jetstream = `jetstream { store_dir: ${JSON.stringify(directory)}, sync_interval: always }`
    writeFileSync(config, `listen: "127.0.0.1:${port}"\n${jetstream}\n`)
    return [startProgram('nats-server', ['--config', config])]
  },
}

function versionOf(command: string, args: readonly string[]): string | undefined {
  const { stdout, status } = spawnSync(command, args, { encoding: 'utf8' })
  return status === 0 ? versionIn(stdout) : undefined
}

function versionIn(text: string): string | undefined {
  return /\d+\.\d+\.\d+/.exec(text)?.[0]
}
