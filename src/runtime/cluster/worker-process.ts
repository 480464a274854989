/**
 * One worker process, as the supervisor sees it: fork, boot, heartbeats, drain, end. After 2 s of silence the worker
 * is pinged; after another second without an answer it is killed. It is not judged while our own timer is late (a
 * laptop that wakes from sleep, a paused container), nor while the kernel holds it in an uninterruptible wait (a
 * stalled disk).
 */

import cluster, { type Worker } from 'node:cluster'
import { readFileSync } from 'node:fs'
import type { Cancel, Clock } from '../clock.ts'
import { fromWire, inWords, MailroomError } from '../errors.ts'
import { forwardOutput, type Logger } from '../logger.ts'
import {
  BOOT_TIMEOUT_MS,
  LATE_CHECK_MS,
  LIVENESS_CHECK_MS,
  OUTPUT_END_MS,
  PING_MS,
  SILENT_MS,
} from '../timings.ts'
import type { ConnectionHandle } from './connection-handle.ts'
import type { ActorStatus, Role } from './directory.ts'
import type { BootFacts, ToPrimary, ToWorker } from './wire.ts'

/** How a worker's process ended. */
export interface WorkerEnd {
  /** For people, such as `exited with code 1`. */
  how: string
  /** Why it could not boot, when it reported that. */
  failure: MailroomError | undefined
  /** No process could be started: there are too many, or too many open files. */
  neverStarted: boolean
}

/** The events of a worker process. */
export interface WorkerListener {
  /** Every IPC message of the worker. After its `hello`, the worker is sent `boot`. */
  onMessage(message: ToPrimary, worker: WorkerProcess, handle?: ConnectionHandle): void
  /** The process has ended. */
  onExit(worker: WorkerProcess, end: WorkerEnd): void
}

/** A forked worker. */
export class WorkerProcess {
  readonly name: string
  readonly role: Role
  /** Resolves when the process has ended. */
  readonly exited: Promise<void>
  /** Resolves when the actor is ready or only has to wait for its predecessor's end: with true; or ended: with false. */
  readonly prepared: Promise<boolean>
  /** Resolves when its drain begins. */
  readonly leaving: Promise<void>
  /** Its `ready` message; undefined until then. */
  boot: { address: string | null; status: ActorStatus } | undefined
  /** How it ended; undefined while it runs. */
  end: WorkerEnd | undefined
  readonly #worker: Worker | undefined
  /** Connections on their way to it. Node forgets them when the process ends. */
  readonly #unsent = new Set<ConnectionHandle>()
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #cancelCheck: Cancel
  readonly #leave: () => void
  #draining: Promise<void> | undefined
  #killedFor: string | undefined
  #failure: MailroomError | undefined
  #heardAt: number
  #checkedAt: number
  #pingedAt: number | null = null

  /** Forks. `cluster.setupPrimary` must have been called. */
  constructor(facts: BootFacts, clock: Clock, logger: Logger, listener: WorkerListener) {
    this.name = facts.name
    this.role = facts.role
    this.#clock = clock
    this.#logger = logger
    this.#heardAt = this.#checkedAt = clock.monotonic()
    ;({ promise: this.leaving, resolve: this.#leave } = Promise.withResolvers<void>())
    const prepared = Promise.withResolvers<boolean>()
    this.prepared = prepared.promise
    const ended = Promise.withResolvers<string>()
    try {
      this.#worker = cluster.fork()
      this.#worker.on('message', (message: ToPrimary, handle?: unknown) => {
        this.#heardAt = clock.monotonic()
        this.#pingedAt = null
        if (message.kind === 'ready') this.boot = message
        if (message.kind === 'ready' || message.kind === 'prepared') prepared.resolve(true)
        if (message.kind === 'failed') this.#failure = fromWire(message.error)
        listener.onMessage(message, this, handle as ConnectionHandle | undefined)
        if (message.kind === 'hello') this.send({ kind: 'boot', facts })
      })
      this.#listenForEnd(this.#worker, ended.resolve)
      forwardOutput(this.#worker.process)
    } catch (error) {
      ended.resolve(startFailure(error))
    }
    this.#cancelCheck = clock.every(LIVENESS_CHECK_MS, () => this.#checkLiveness())
    this.exited = ended.promise.then((how) => {
      this.#cancelCheck()
      if (this.#draining === undefined) logger.warn({ actor: this.name, worker: this.pid }, `worker ${how}`)
      this.end = {
        how: this.#killedFor ?? how,
        failure: this.#failure,
        neverStarted: this.pid === 0,
      }
      listener.onExit(this, this.end)
      prepared.resolve(false)
    })
  }

  /** True once its drain has begun, or it is being killed. */
  get isLeaving(): boolean {
    return this.#draining !== undefined
  }

  get pid(): number {
    return this.#worker?.process.pid ?? 0
  }

  /** Sends an IPC message. It is lost when the process has ended. */
  send(message: ToWorker): void {
    if (this.#worker?.isConnected()) this.#worker.send(message, undefined, () => {})
  }

  /** Sends it a connection. */
  sendConnection(handle: ConnectionHandle): void {
    if (!this.#worker?.isConnected()) {
      handle.close()
      return
    }
    this.#unsent.add(handle)
    this.#worker.send({ kind: 'connection' }, handle as never, undefined, () => {
      if (this.#unsent.delete(handle)) handle.close()
    })
  }

  /**
   * Asks it to drain and exit, and kills it after `timeoutMs`. Resolves when it has ended.
   *
   * @param replaced Another facade can take its connections.
   */
  drain(timeoutMs: number, replaced = false): Promise<void> {
    this.#draining ??= this.#drain(timeoutMs, replaced)
    return this.#draining
  }

  /** Kills it. Resolves when it has ended. */
  kill(): Promise<void> {
    this.#draining ??= this.exited
    this.#kill()
    return this.exited
  }

  /** Calls `ended` when the process has ended and its last lines are read, or when it could not be started. */
  #listenForEnd(worker: Worker, ended: (how: string) => void): void {
    worker.on('error', (error) => {
      if (worker.process.pid === undefined) {
        delete cluster.workers?.[worker.id] // It emits no `exit`, at which cluster does this.
        ended(startFailure(error))
      } else {
        this.#logger.debug({ actor: this.name, err: error }, 'worker channel')
      }
    })
    worker.on('exit', (code, signal) => {
      for (const handle of this.#unsent) handle.close()
      this.#unsent.clear()
      const end = () => ended(exitText(code, signal))
      worker.process.on('close', end)
      this.#clock.after(OUTPUT_END_MS, end)
    })
  }

  #kill(): void {
    this.#worker?.process.kill('SIGKILL')
  }

  async #drain(timeoutMs: number, replaced: boolean): Promise<void> {
    this.#leave()
    if (this.boot === undefined) this.#kill() // An actor that has not booted has admitted nothing.
    this.send({ kind: 'drain', replaced })
    const cancel = this.#clock.after(timeoutMs, () => {
      this.#logger.warn({ actor: this.name, worker: this.pid, timeoutMs }, 'drain took too long')
      this.#kill()
    })
    await this.exited
    cancel()
  }

  #checkLiveness(): void {
    const now = this.#clock.monotonic()
    const lateMs = now - this.#checkedAt - LIVENESS_CHECK_MS
    this.#checkedAt = now
    if (now - this.#heardAt <= SILENT_MS) return
    if (lateMs > LATE_CHECK_MS || isInUninterruptibleWait(this.pid)) {
      this.#heardAt = now
      this.#pingedAt = null
    } else if (this.boot === undefined) {
      if (now - this.#heardAt > BOOT_TIMEOUT_MS)
        this.#killSilent(`did not boot within ${BOOT_TIMEOUT_MS / 1000} s`)
    } else if (this.#pingedAt === null) {
      this.#pingedAt = now
      this.send({ kind: 'ping' })
    } else if (now - this.#pingedAt > PING_MS) {
      this.#killSilent('does not answer')
    }
  }

  #killSilent(why: string): void {
    const error = new MailroomError('MR_PEER_LOST', { peer: this.name, reason: why })
    this.#logger.warn({ actor: this.name, worker: this.pid, code: error.code }, error.message)
    this.#killedFor = why
    this.#kill()
  }
}

function exitText(code: number | null, signal: string | null): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`
}

/** Too many processes (EAGAIN), too many open files (EMFILE, ENFILE), too little memory (ENOMEM). */
function startFailure(error: unknown): string {
  return `could not be started: ${(error as NodeJS.ErrnoException).code ?? inWords(error)}`
}

/** Process state D on Linux; false on other systems. */
function isInUninterruptibleWait(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat[stat.lastIndexOf(')') + 2] === 'D'
  } catch {
    return false
  }
}
