/** The systems that are compared, and how each starts. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../../tools/free-port.ts'
import {
  type Child,
  isListening,
  removeDirectory,
  startScript,
  temporaryDirectory,
  until,
} from '../lib/child.ts'
import { Mailroom } from '../lib/mailroom.ts'
import type { System } from '../lib/meter.ts'
import type { Consumed } from '../lib/texts.ts'
import { NATS, RABBITMQ, REDIS, type Server } from './servers.ts'
import type { Question } from './service.ts'

const SERVICE = new URL('service.ts', import.meta.url)

/** A system that runs. */
interface Running extends System {
  /** What the consumer took, or how many messages were answered where nothing is stored. */
  tally(): Promise<Consumed>
  /** Ends all of its processes, and removes its data. */
  end(): Promise<void>
}

/** A system that is compared. */
export interface Contender {
  /** For `--only`. */
  name: string
  title: string
  /** What is durable when a post is answered 201. */
  stored: string
  /** The program that it needs on this machine. */
  server?: Server
  /** True: every load once more, with an Idempotency-Key on each post. */
  keyed?: boolean
  start(): Promise<Running>
}

/** What a system stores that is there for the comparison only. */
export const NOTHING = 'nothing; there is no consumer: the floor of any service'

export const CONTENDERS: readonly Contender[] = [
  bare('bare-http', 'node:http, stores nothing'),
  bare('bare-koa', 'Koa, stores nothing'),
  {
    name: 'mailroom',
    title: 'Mailroom',
    stored: 'a row of the log, synced; embedded backend with default flags',
    keyed: true,
    start: () => Mailroom.start(),
  },
  {
    name: 'sqlite',
    title: 'Koa + SQLite',
    stored: 'a row, synced in a transaction of its own (WAL, synchronous = FULL)',
    start: () => startStoring('sqlite'),
  },
  behind(
    'rabbitmq',
    'Koa + RabbitMQ',
    'a persistent message in a durable classic queue, synced (publisher confirms)',
    RABBITMQ,
  ),
  behind('bullmq', 'Koa + BullMQ, Redis', 'a job in an append-only file, synced (appendfsync always)', REDIS),
  behind('nats', 'Koa + NATS JetStream', 'a message in a file stream, synced (sync_interval: always)', NATS),
]

/** Client libraries are no dependencies of Mailroom: the first run installs them beside the services. */
export function installClients(): void {
  if (existsSync(join(import.meta.dirname, 'node_modules'))) return
  console.log('installing client libraries into bench/compare/node_modules')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`npm ci in ${import.meta.dirname} failed`)
}

function bare(name: string, title: string): Contender {
  return { name, title, stored: NOTHING, start: () => startBare(name) }
}

function behind(name: string, title: string, stored: string, server: Server): Contender {
  return { name, title, stored, server, start: () => startStoring(name, server) }
}

async function startBare(name: string): Promise<Running> {
  const { child, port } = await startScript(SERVICE, [name, 'front'])
  const count = () => child.ask<number>('count' satisfies Question)
  return {
    ...{ port, pids: [child.pid], end: () => child.end() },
    untilConsumed: (wanted) => until(child, `${wanted} answers`, async () => (await count()) >= wanted),
    tally: async () => ({ count: await count() }),
  }
}

/** A front and a consumer of `name`, and the server between them; without one, they share a directory. */
async function startStoring(name: string, server?: Server): Promise<Running> {
  const directory = temporaryDirectory()
  const children: Child[] = []
  const end = async () => {
    for (const child of children.toReversed()) await child.end()
    removeDirectory(directory)
  }
  try {
    let address = directory
    if (server !== undefined) {
      const port = await freePort()
      address = String(port)
      children.push(...(await server.start(port, directory)))
      await until(children.at(-1)!, server.name, () => isListening(port))
    }
    const front = await startScript(SERVICE, [name, 'front', address])
    children.push(front.child)
    const consumer = (await startScript(SERVICE, [name, 'consumer', address])).child
    children.push(consumer)
    const ask = <T>(question: Question) => consumer.ask<T>(question)
    return {
      ...{ port: front.port, pids: children.map(({ pid }) => pid), end },
      untilConsumed: (wanted) =>
        until(consumer, `${wanted} messages`, async () => (await ask<number>('count')) >= wanted),
      tally: () => ask<Consumed>('tally'),
    }
  } catch (error) {
    await end()
    throw error
  }
}
