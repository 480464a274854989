/** A worker process: it sends `hello`, boots its actor, sends heartbeats, drains and exits. */

import { setFlagsFromString } from 'node:v8'
import { systemRandom } from '../clock.ts'
import { fromWire, isMailroomError, toWire } from '../errors.ts'
import { Figures, processSampler } from '../figures.ts'
import { exit, onBug, onEverySignal } from '../lifecycle.ts'
import { createLogger } from '../logger.ts'
import { WorkerClock } from '../node-time.ts'
import { HEARTBEAT_MS, MISSING_CHECK_MS } from '../timings.ts'
import type { ActorContext, BootedActor, Catalog, RuntimeConfig } from './actor-context.ts'
import { type ConnectionHandle, handleOf, socketOf } from './connection-handle.ts'
import { type ActorEntry, type Directory, inOrder } from './directory.ts'
import type { Answers, BootFacts, ToPrimary, ToWorker } from './wire.ts'

/**
 * By default V8 lets the garbage of a busy process grow with the machine's memory: a messages actor to 419 MiB instead
 * of 211 MiB, without being faster (measured with `bench/stream.ts`). The heap itself is not limited, as a handler may
 * need it. V8 reads the flag at each collection. On the command line it would cost a start 30 ms of CPU a process: code that
 * was compiled under other flags, such as all of Node's own, is compiled anew.
 */
const HEAP_GROWTH = '--heap-growing-percent=50'
/**
 * Collections of young objects are small and many: helper threads cost more CPU than they save. Seven processes share the
 * machine, so nothing is gained by using its other cores for one. 8 % of the CPU of a single post (`bench/posts.ts`).
 */
const NO_PARALLEL = '--no-parallel-scavenge'

/** The directory that the primary sends. */
class ReceivedDirectory implements Directory {
  #actors: readonly ActorEntry[] = []
  #warnings: readonly string[] = []
  readonly #listeners = new Set<() => void>()

  actors(): readonly ActorEntry[] {
    return this.#actors
  }

  warnings(): readonly string[] {
    return this.#warnings
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  receive({ changed, removed, warnings }: Extract<ToWorker, { kind: 'directory' }>): void {
    this.#warnings = warnings
    const replaced = new Set([...removed, ...changed.map(({ name }) => name)])
    this.#actors = [...this.#actors.filter(({ name }) => !replaced.has(name)), ...changed].sort(inOrder)
    for (const listener of this.#listeners) listener()
  }
}

/** Requests to the primary that have no answer yet. */
class Requests {
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #lastId = 0

  send<W extends keyof Answers>(ask: (id: number) => ToPrimary & { what: W }): Promise<Answers[W]> {
    const id = ++this.#lastId
    const waiting = Promise.withResolvers<unknown>()
    this.#waiting.set(id, waiting)
    send(ask(id))
    return waiting.promise as Promise<Answers[W]>
  }

  settle({ id, value, error }: Extract<ToWorker, { kind: 'answer' }>): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(value)
    else waiting?.reject(fromWire(error))
  }
}

/** Asks the primary for room for one connection after another, so that one answer is for one connection. */
class Room {
  #last: Promise<unknown> = Promise.resolve()
  #answer: (hasRoom: boolean) => void = () => {}

  ask(): Promise<boolean> {
    const answer = this.#last.then(
      () =>
        new Promise<boolean>((resolve) => {
          this.#answer = resolve
          send({ kind: 'room' })
        }),
    )
    this.#last = answer
    return answer
  }

  answer(hasRoom: boolean): void {
    this.#answer(hasRoom)
  }
}

/**
 * Runs this process as a worker. It ends when the primary dies: at once, or with its next heartbeat.
 *
 * @param catalog How to boot an actor of each role.
 */
export function bootWorker<C extends RuntimeConfig>(catalog: Catalog<C>): void {
  const directory = new ReceivedDirectory()
  const clock = new WorkerClock()
  const requests = new Requests()
  const room = new Room()
  const begun = Promise.withResolvers<void>()
  const predecessorEnded = () => {
    send({ kind: 'prepared' })
    return begun.promise
  }
  let hosted: Promise<BootedActor> | undefined
  onEverySignal((signal) => send({ kind: 'signalled', signal }))
  process.on('message', async (message: ToWorker, handle?: unknown) => {
    switch (message.kind) {
      case 'boot':
        clock.follow(message.facts.time)
        hosted = boot(catalog, message.facts as BootFacts<C>, {
          clock,
          directory,
          requests,
          room,
          predecessorEnded,
        })
        break
      case 'begin':
        begun.resolve()
        break
      case 'directory':
        directory.receive(message)
        break
      case 'time':
        clock.follow(message.time)
        break
      case 'answer':
        requests.settle(message)
        break
      case 'room':
        room.answer(message.hasRoom)
        break
      case 'ping':
        send({ kind: 'status', status: (await hosted)!.status() })
        break
      case 'drain':
        await (await hosted)?.drain(message.replaced)
        exit(0)
        break
      case 'connection':
        if (handle === undefined) break // It was closed on the way.
        ;(await hosted)?.adopt?.(socketOf(handle as ConnectionHandle))
    }
  })
  send({ kind: 'hello' })
}

async function boot<C extends RuntimeConfig>(
  catalog: Catalog<C>,
  facts: BootFacts<C>,
  {
    clock,
    directory,
    requests,
    room,
    predecessorEnded,
  }: {
    clock: WorkerClock
    directory: Directory
    requests: Requests
    room: Room
    predecessorEnded: () => Promise<void>
  },
): Promise<BootedActor> {
  const logger = createLogger(facts.config.logLevel, { node: facts.node, actor: facts.name })
  let lastLine: string | undefined
  const log = (level: 'info' | 'error' | 'fatal', facts: object, line: string) => {
    lastLine = line
    logger[level](facts, line)
  }
  process.on('exit', (code) => {
    if (lastLine !== undefined) return
    if (process.connected)
      log('fatal', { code }, 'the process was ended by code that is not an actor’s, such as a handler')
    else log('fatal', {}, 'ended because the primary has died')
  })
  const fail = (error: unknown): never => {
    log('fatal', { err: error }, 'actor failed')
    exit(1)
  }
  onBug(fail)
  let hosted: BootedActor | undefined
  let sentMissing = ''
  const sendStatus = () => {
    if (hosted === undefined) return
    const status = hosted.status()
    sentMissing = status.missing.join()
    send({ kind: 'status', status })
  }
  const figures = new Figures(facts.role)
  const sample = processSampler(figures, { role: facts.role, actor: facts.name })
  const pushFigures = async () => {
    sample()
    const changes = await figures.changes()
    await new Promise<void>((resolve) => send({ kind: 'figures', changes }, resolve))
  }
  const context: ActorContext<C> = {
    ...facts,
    clock,
    random: systemRandom,
    logger,
    directory,
    figures,
    scale: (role, count) => requests.send((id) => ({ kind: 'ask', id, what: 'scale', role, count })),
    restart: (role) => requests.send((id) => ({ kind: 'ask', id, what: 'restart', role })),
    metrics: (format) => requests.send((id) => ({ kind: 'ask', id, what: 'metrics', format })),
    stats: () => requests.send((id) => ({ kind: 'ask', id, what: 'stats' })),
    history: () => requests.send((id) => ({ kind: 'ask', id, what: 'history' })),
    changed: sendStatus,
    remember: (known) => send({ kind: 'known', known }),
    async passOn(connection) {
      const handle = handleOf(connection)
      const hasRoom = await room.ask()
      if (connection.destroyed) return true
      if (hasRoom) send({ kind: 'connection' }, () => connection.destroy(), handle)
      else handle.readStart()
      return hasRoom
    },
    fail,
  }
  try {
    const booted = await catalog[facts.role](context, predecessorEnded)
    hosted = {
      ...booted,
      async drain(replaced) {
        await booted.drain(replaced)
        await pushFigures()
        log('info', {}, 'actor drained')
      },
    }
  } catch (error) {
    log(
      'error',
      isMailroomError(error) ? { code: error.code, detail: error.message } : { err: error },
      'actor cannot boot',
    )
    await new Promise<void>((resolve) => send({ kind: 'failed', error: toWire(error) }, resolve))
    exit(1)
  }
  setFlagsFromString(HEAP_GROWTH)
  setFlagsFromString(NO_PARALLEL)
  send({ kind: 'ready', address: hosted.address, status: hosted.status() })
  void pushFigures()
  clock.every(HEARTBEAT_MS, () => {
    sendStatus()
    void pushFigures()
  })
  clock.every(MISSING_CHECK_MS, () => {
    if (hosted?.status().missing.join() !== sentMissing) sendStatus()
  })
  return hosted
}

/**
 * Sends an IPC message, and ends this process when the primary is dead. node:cluster does so at once, unless a connection
 * was on its way to the primary: it waits for the primary to confirm that one, for ever.
 */
function send(message: ToPrimary, done: () => void = () => {}, handle?: ConnectionHandle): void {
  if (!process.connected) exit(0)
  process.send?.(message, handle as never, undefined, done)
}
