/** The public API on a free port, in front of a facade in memory and a clock that stands still. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type Logger, pino } from 'pino'
import { Client, type Dispatcher } from 'undici'
import { type PublicServer, servePublic } from '../../src/http/server.ts'
import type { Sources } from '../../src/inbox/source.ts'
import { Figures } from '../../src/runtime/figures.ts'
import { DAY_MS } from '../../src/runtime/timings.ts'
import { FakeClock } from './fake-clock.ts'
import { FakeFacade } from './fake-facade.ts'

/** An answer, read whole. */
interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as they like
  json: any
}

/** Of the API under test: seven days. */
export const RETENTION_MS = 7 * DAY_MS

/** A running API. */
export interface Api {
  facade: FakeFacade
  clock: FakeClock
  server: PublicServer
  figures: Figures
  client: Client
  logged: Record<string, unknown>[]
  /** Connections that the server passed on. */
  passedOn: Socket[]
  ask(method: string, path: string, options?: Ask): Promise<Answer>
  /** A connection to say anything on. */
  raw(): Promise<Raw>
  /** Lets time pass until the server has stopped. */
  stop(): Promise<void>
}

interface Ask {
  headers?: Record<string, string>
  body?: Dispatcher.DispatchOptions['body']
}

/** Starts an API for one test, and ends it with the test. */
export async function startApi(
  test: TestContext,
  options: {
    token?: string
    readToken?: string
    postToken?: string
    host?: string
    level?: string
    allowedHosts?: string[]
    basePath?: string
    inbox?: Sources
    maxMessageBytes?: number
    /** What the wall clock is ahead of the node's time, ms. */
    wallAheadMs?: number
    /** Whether a connection leaves that is passed on. */
    leaves?: () => boolean
  } = {},
): Promise<Api> {
  const clock = new FakeClock()
  const facade = new FakeFacade(clock, () => 0.5)
  const logged: Record<string, unknown>[] = []
  const config = {
    counts: { facade: 1, logging: 1, messages: 1 },
    host: options.host ?? '127.0.0.1',
    port: 0,
    peers: [],
    node: 'here',
    internalHost: '127.0.0.1',
    internalPort: null,
    secret: null,
    backend: 'embedded' as const,
    journal: null,
    hazelcastLogging: { clusterName: 'logging', members: [] },
    hazelcastQueue: { clusterName: 'queue', members: [] },
    data: '/nowhere',
    handler: null,
    ...{ forward: null, forwardSecret: null },
    handlerTimeoutMs: 30_000,
    handlerConcurrency: 1,
    ...{ attempts: 5, retryMinMs: 1000, retryMaxMs: 60_000 },
    lanes: 16,
    retentionMs: RETENTION_MS,
    deadRetentionMs: null,
    maxMessageBytes: options.maxMessageBytes ?? 65_536,
    token: options.token ?? null,
    readToken: options.readToken ?? null,
    postToken: options.postToken ?? null,
    open: true,
    allowedHosts: options.allowedHosts ?? null,
    basePath: options.basePath ?? null,
    mailboxCapacity: 1,
    keepAliveMs: 95_000,
    keyRetentionMs: null,
    sources: null,
    inbox: options.inbox ?? {},
    logLevel: 'error',
    json: false,
  }
  const logger: Logger = pino(
    { level: options.level ?? 'error' },
    { write: (line: string) => logged.push(JSON.parse(line)) },
  )
  const passedOn: Socket[] = []
  const passOn = async (connection: Socket) => {
    const leaves = options.leaves?.() ?? true
    if (leaves) passedOn.push(connection)
    return leaves
  }
  const figures = new Figures('facade')
  const wallClock = { now: () => clock.now() + (options.wallAheadMs ?? 0) }
  const server = await servePublic({
    ...{ facade, config, clock, wallClock, random: () => 0.5, logger, node: 'here', passOn, figures },
  })
  const client = new Client(`http://127.0.0.1:${server.port}`)
  const raws: Raw[] = []
  const stop = async () => {
    let stopped = false
    const stopping = server.stopListening().then(() => {
      stopped = true
    })
    while (!stopped) await clock.advance(100)
    await stopping
  }
  test.after(async () => {
    await client.destroy()
    for (const raw of raws) raw.socket.destroy()
    await stop()
  })
  return {
    facade,
    figures,
    clock,
    server,
    client,
    logged,
    passedOn,
    stop,
    async ask(method, path, { headers = {}, body = null } = {}) {
      const response = await client.request({ method: method as 'GET', path, headers, body })
      const text = await response.body.text()
      const isJson = /[/+]json$/.test(String(response.headers['content-type']))
      return {
        status: response.statusCode,
        headers: response.headers,
        text,
        json: isJson && text !== '' ? JSON.parse(text) : undefined,
      }
    },
    async raw() {
      const raw = new Raw(connect(server.port, '127.0.0.1'))
      raws.push(raw)
      await new Promise((resolve) => raw.socket.once('connect', resolve))
      return raw
    },
  }
}

/** A connection on which anything can be said. */
export class Raw {
  readonly socket: Socket
  #heard = ''
  #isOver = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (data) => {
      this.#heard += data.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#isOver = true
    })
    socket.on('end', () => {
      this.#isOver = true
    })
  }

  say(text: string | Buffer): void {
    this.socket.write(text)
  }

  get heard(): string {
    return this.#heard
  }

  /** True when the server has ended the connection. */
  get isOver(): boolean {
    return this.#isOver
  }
}

/** Waits until a condition holds, and fails when it never does. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn === 10_000) assert.fail(`never came true: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
