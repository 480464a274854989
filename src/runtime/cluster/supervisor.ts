/**
 * The supervisor: runs one worker process per actor, owns the directory, scales, restarts and drains. No user's message
 * passes through it, so it can neither delay nor lose one.
 *
 * The states of an actor in the directory:
 *
 *   starting ──▶ ready ──▶ draining ──▶ (gone, or `starting` again: a rolling restart)
 *       └──────────┴─crash─▶ restarting ──▶ ready      (after a backoff; it keeps its lanes)
 *                                └──5 in 60 s──▶ failed ──▶ ready    (one probe every 30 s; its lanes go)
 *
 * An actor never has two processes, except while a facade is replaced: the new process listens before the old one
 * drains.
 */

import cluster from 'node:cluster'
import type { Clock, Random } from '../clock.ts'
import { isMailroomError, MailroomError, toWire } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { DIRECTORY_PERIOD_MS, DRAIN_MS, SIGNAL_GRACE_MS, STOP_MS } from '../timings.ts'
import type { ConnectionHandle } from './connection-handle.ts'
import { type ActorEntry, actorName, inOrder, ROLES, type Role } from './directory.ts'
import { RestartPolicy } from './restart-policy.ts'
import { emptySlot, fill, type Slot, update, vacate } from './slot.ts'
import type { BootFacts, ToPrimary } from './wire.ts'
import { type WorkerEnd, WorkerProcess } from './worker-process.ts'

/**
 * By default V8 lets the garbage of a busy process grow with the machine's memory: to 350 MB instead of 260 MB, without
 * being faster (measured with `bench/stream.ts`). The heap itself is not limited, as a handler may need it.
 */
const WORKER_FLAGS = ['--heap-growing-percent=50']

/** Options of a supervisor. */
export interface SupervisorOptions extends Omit<BootFacts, 'name' | 'role'> {
  /** True where other nodes may belong to the system: then names of actors carry this node's. */
  isOneOfSeveral: boolean
  /** The module a worker process runs. */
  exec: string
  /** Its arguments. */
  args: readonly string[]
  clock: Clock
  random: Random
  logger: Logger
  /** Called when a process was started or has ended. */
  onChange: () => void
  /** The actors of other nodes. */
  others: () => readonly ActorEntry[]
}

/** Runs the actors of one node. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #slots = new Map<string, Slot>()
  readonly #changeWaiters: (() => void)[] = []
  #tellScheduled = false
  #operation: Promise<unknown> = Promise.resolve()
  #stopped: Promise<void> | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    cluster.schedulingPolicy = cluster.SCHED_NONE
    cluster.setupPrimary({ exec: options.exec, args: [...options.args], execArgv: WORKER_FLAGS })
  }

  /** All actors of this node, by role and number. */
  actors(): ActorEntry[] {
    return [...this.#slots.values()].map(({ entry }) => entry).sort(inOrder)
  }

  /** The actors of other nodes have changed: sends the workers the directory within 50 ms. */
  othersChanged(): void {
    this.#changed()
  }

  /** Pids of the living processes. */
  pids(): number[] {
    return Object.values(cluster.workers ?? {}).flatMap((worker) => worker?.process.pid ?? [])
  }

  /**
   * Starts all actors; resolves when every one is ready.
   *
   * @throws {MailroomError} Why an actor could not boot, when a retry cannot help.
   */
  async start(): Promise<void> {
    for (const role of ROLES) this.#grow(role, this.#options.config.counts[role])
    await this.#allReady(() => true)
  }

  /**
   * Runs `count` actors of a role. Operations run one after another.
   *
   * @param asker The facade that asked. When it is to be removed itself, it is answered before its own drain.
   * @returns The new list, when the new actors are ready and the removed ones have drained.
   * @throws {MailroomError} `MR_PEER_LOST` when a new actor keeps crashing, `MR_DRAINING` while all stops,
   * `MR_ROLE_ELSEWHERE` when this node was started without actors of the role.
   */
  scale(role: Role, count: number, asker?: WorkerProcess): Promise<ActorEntry[]> {
    return this.#operate(async (answer) => {
      this.#refuseElsewhere(role, `set ${role.toUpperCase()}=${count} and run docker compose up -d`)
      this.#options.logger.info({ role, count }, 'scaling')
      this.#grow(role, count)
      await this.#allReady((slot) => slot.entry.role === role)
      const leaving = this.#slotsOf(role).slice(count)
      for (const slot of leaving) slot.wanted = false
      const remove = async (slot: Slot) => {
        await this.#drain(slot, DRAIN_MS)
        this.#slots.delete(slot.entry.name)
        this.#changed()
      }
      const asking = leaving.filter(isOf(asker))
      await Promise.all(leaving.filter((slot) => !asking.includes(slot)).map(remove))
      answer(this.#directory().filter(({ name }) => this.#slots.get(name)?.wanted !== false))
      await Promise.all(asking.map(remove))
    })
  }

  /** Replaces the processes of a role's actors, one by one. @returns, @throws as `scale`. */
  restart(role: Role, asker?: WorkerProcess): Promise<ActorEntry[]> {
    return this.#operate(async (answer) => {
      this.#refuseElsewhere(role, `run docker compose restart ${role}`)
      this.#options.logger.info({ role }, 'restarting')
      const slots = this.#slotsOf(role)
      const asking = slots.filter(isOf(asker))
      for (const slot of slots) if (!asking.includes(slot)) await this.#replace(slot, () => {})
      for (const slot of asking) await this.#replace(slot, () => answer(this.#directory()))
      answer(this.#directory())
    })
  }

  /** Drains everything, facades first, then logging, then messages; within 10 s. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  /** Kills all processes and starts none again. Resolves when they have ended. */
  async kill(): Promise<void> {
    this.#stopped ??= Promise.resolve()
    const gone = [...this.#slots.values()].map((slot) => {
      slot.wanted = false
      slot.cancelRestart?.()
      slot.entry.state = 'draining'
      return slot.process?.end()
    })
    // A facade's replacement that is still booting has no slot yet.
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
    await Promise.all(gone)
  }

  async #stop(): Promise<void> {
    for (const slot of this.#slots.values()) slot.wanted = false
    for (const role of ROLES) {
      await Promise.all(this.#slotsOf(role).map((slot) => this.#drain(slot, STOP_MS[role])))
    }
    await this.kill()
  }

  /** Runs one operation at a time. `answer` resolves the caller's promise, possibly before the work has ended. */
  #operate(work: (answer: (actors: ActorEntry[]) => void) => Promise<void>): Promise<ActorEntry[]> {
    return new Promise((resolve, reject) => {
      this.#operation = this.#operation.then(async () => {
        try {
          this.#refuseWhileStopping()
          await work(resolve)
        } catch (error) {
          const why = isMailroomError(error) ? { detail: error.message } : { err: error }
          this.#options.logger.warn(why, 'scaling or restarting failed')
          reject(error)
        }
      })
    })
  }

  #grow(role: Role, count: number): void {
    const { clock, random, node, config, isOneOfSeveral } = this.#options
    for (let number = 1; number <= count; number++) {
      const name = actorName(role, number, isOneOfSeveral ? node : undefined)
      if (this.#slots.has(name)) continue
      const policy = new RestartPolicy(clock, random)
      const slot = emptySlot({ name, role, node }, config.mailboxCapacity, policy)
      this.#slots.set(name, slot)
      this.#fork(slot)
    }
  }

  #fork(slot: Slot): WorkerProcess {
    const process = this.#begin(slot)
    slot.process = process
    slot.entry.pid = process.pid
    this.#changed()
    return process
  }

  /** Starts a process for a slot without putting it there. */
  #begin({ entry: { name, role } }: Slot): WorkerProcess {
    const { node, config, secret, clock, logger } = this.#options
    const process = new WorkerProcess({ name, role, node, config, secret }, clock, logger, {
      onMessage: (message, from, handle) => this.#hear(message, from, handle),
      onExit: (from, end) => this.#exited(from, end),
    })
    this.#options.onChange()
    return process
  }

  async #replace(slot: Slot, beforeDrain: () => void): Promise<void> {
    this.#refuseWhileStopping()
    if (slot.entry.role === 'facade' && slot.process !== undefined) {
      const old = slot.process
      const next = this.#begin(slot)
      if (!(await next.booted)) {
        throw new MailroomError('MR_PEER_LOST', {
          peer: slot.entry.name,
          reason: 'its new process died; the old one stays',
        })
      }
      if (slot.process === old) {
        this.#seat(slot, next)
        beforeDrain()
        await old.drain(DRAIN_MS, true)
      } else {
        await next.drain(DRAIN_MS, true) // The old one crashed meanwhile and has been restarted already.
      }
    } else {
      await this.#drain(slot, DRAIN_MS)
      if (!slot.wanted) return
      Object.assign(slot.entry, { state: 'starting' })
      this.#fork(slot)
    }
    slot.entry.restarts++
    await this.#allReady((other) => other === slot)
  }

  /** Drains a slot's process and empties the slot. */
  async #drain(slot: Slot, timeoutMs: number): Promise<void> {
    slot.cancelRestart?.()
    slot.cancelRestart = undefined
    slot.entry.state = 'draining'
    this.#changed()
    await slot.process?.drain(timeoutMs, this.#otherFacade(slot.process) !== undefined)
    slot.process = undefined
  }

  /** Sends a facade's connection to another one, or back when there is none. */
  #passOn(connection: ConnectionHandle, from: WorkerProcess): void {
    const other = this.#otherFacade(from)
    if (other !== undefined) other.entry.connections = (other.entry.connections ?? 0) + 1
    ;(other?.process ?? from).sendConnection(connection)
  }

  /** The ready facade with the fewest connections, not counting one's own. */
  #otherFacade(own: WorkerProcess): Slot | undefined {
    return this.#slotsOf('facade')
      .filter(({ process, entry, wanted }) => process !== own && wanted && entry.state === 'ready')
      .sort((a, b) => (a.entry.connections ?? 0) - (b.entry.connections ?? 0))[0]
  }

  #hear(message: ToPrimary, from: WorkerProcess, handle?: ConnectionHandle): void {
    const slot = this.#slots.get(from.name)
    switch (message.kind) {
      case 'hello':
        from.send({ kind: 'directory', actors: this.#directory() })
        break
      case 'ready':
        if (slot?.process === from) this.#seat(slot, from)
        break
      case 'status':
        if (slot?.process !== from) break
        update(slot, message.status)
        this.#changed()
        break
      case 'connection':
        if (handle !== undefined) this.#passOn(handle, from)
        break
      case 'signalled':
        this.#replaceSignalled(from)
        break
      case 'ask':
        this.#answer(message, from)
        break
    }
  }

  /** Puts a ready process into its slot. */
  #seat(slot: Slot, process: WorkerProcess): void {
    slot.process = process
    if (slot.entry.state === 'draining') return
    fill(slot, process)
    this.#options.logger.info({ actor: slot.entry.name, worker: process.pid }, 'actor ready')
    this.#changed()
  }

  #exited(from: WorkerProcess, { failure, forMessage }: WorkerEnd): void {
    this.#options.onChange()
    const slot = this.#slots.get(from.name)
    if (slot?.process !== from || slot.entry.state === 'draining') return
    if (failure !== undefined && !failure.retryable && !isMailroomError(failure, 'MR_INTERNAL')) {
      slot.bootFailure = failure
    }
    const { delayMs, failed } = vacate(slot, forMessage)
    this.#options.logger.warn({ actor: from.name, delayMs: Math.round(delayMs), failed }, 'actor restarts')
    slot.cancelRestart = this.#options.clock.after(delayMs, () => {
      slot.cancelRestart = undefined
      this.#fork(slot)
    })
    this.#changed()
  }

  /** Replaces a worker that got a signal, unless the signal was sent to the whole node, which then drains. */
  #replaceSignalled(from: WorkerProcess): void {
    this.#options.clock.after(SIGNAL_GRACE_MS, () => {
      const slot = this.#slots.get(from.name)
      if (this.#stopped !== undefined || slot?.process !== from) return
      void this.#operate(async (answer) => {
        if (slot.process === from) await this.#replace(slot, () => {})
        answer([])
      }).catch(() => {}) // Logged by the operation.
    })
  }

  async #answer(ask: Extract<ToPrimary, { kind: 'ask' }>, from: WorkerProcess): Promise<void> {
    const { id } = ask
    try {
      const actors = await (ask.what === 'scale'
        ? this.scale(ask.role, ask.count, from)
        : this.restart(ask.role, from))
      from.send({ kind: 'answer', id, actors })
    } catch (error) {
      from.send({ kind: 'answer', id, error: toWire(error) })
    }
  }

  /** Resolves when the chosen actors are ready. */
  async #allReady(chosen: (slot: Slot) => boolean): Promise<void> {
    for (;;) {
      this.#refuseWhileStopping()
      const slots = [...this.#slots.values()].filter(chosen)
      for (const { bootFailure } of slots) if (bootFailure !== undefined) throw bootFailure
      const failed = slots.find(({ entry }) => entry.state === 'failed')
      if (failed !== undefined) {
        throw new MailroomError('MR_PEER_LOST', { peer: failed.entry.name, reason: 'it keeps crashing' })
      }
      if (slots.every(({ entry }) => entry.state === 'ready')) return
      await new Promise<void>((resolve) => this.#changeWaiters.push(resolve))
    }
  }

  #slotsOf(role: Role): Slot[] {
    return this.actors()
      .filter((entry) => entry.role === role)
      .map(({ name }) => this.#slots.get(name)!)
  }

  #refuseWhileStopping(): void {
    if (this.#stopped !== undefined) throw new MailroomError('MR_DRAINING', { name: this.#options.node })
  }

  #refuseElsewhere(role: Role, inCompose: string): void {
    if (this.#options.config.counts[role] > 0) return
    const way = `other nodes do, and that is where they are scaled and restarted; with compose, ${inCompose}`
    throw new MailroomError('MR_ROLE_ELSEWHERE', { role, way })
  }

  /** The actors of all nodes. */
  #directory(): ActorEntry[] {
    return [...this.actors(), ...this.#options.others()].sort(inOrder)
  }

  #changed(): void {
    for (const wake of this.#changeWaiters.splice(0)) wake()
    if (this.#tellScheduled) return
    this.#tellScheduled = true
    this.#options.clock.after(DIRECTORY_PERIOD_MS, () => this.#tell(), { unref: true })
  }

  #tell(): void {
    this.#tellScheduled = false
    const actors = this.#directory()
    for (const { process } of this.#slots.values()) process?.send({ kind: 'directory', actors })
  }
}

/** True for the slot whose process asked. */
function isOf(asker: WorkerProcess | undefined): (slot: Slot) => boolean {
  return ({ process }) => asker !== undefined && process === asker
}
