/**
 * The supervisor: runs one worker process per actor, owns the directory, scales, restarts and drains. No user's message
 * passes through it, so it can neither delay nor lose one.
 *
 * The states of an actor in the directory:
 *
 *   starting ──▶ ready ──▶ draining ──▶ (removed, or `starting` again: a rolling restart)
 *       └──────────┴─crash─▶ restarting ──▶ ready      (after a backoff; it keeps its lanes)
 *                                └──5 in 60 s──▶ failed ──▶ ready    (one probe every 30 s; it loses its lanes)
 *
 * An actor never has two processes, except while a facade is replaced: the new process listens before the old one
 * drains.
 */

import cluster from 'node:cluster'
import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import type { Clock, Random } from '../clock.ts'
import { isMailroomError, MailroomError, toWire } from '../errors.ts'
import { History } from '../history.ts'
import type { Logger } from '../logger.ts'
import { type TimeKeeper, timeAt } from '../node-time.ts'
import { type NodeTotals, type Stats, statsOf } from '../stats.ts'
import {
  CLOCK_CHECK_MS,
  DIRECTORY_PERIOD_MS,
  DRAIN_MS,
  HEARTBEAT_MS,
  SIGNAL_GRACE_MS,
  STOP_MS,
} from '../timings.ts'
import type { RuntimeConfig } from './actor-context.ts'
import type { ClusterMemory } from './cluster-memory.ts'
import type { ConnectionHandle } from './connection-handle.ts'
import { type ActorEntry, actorName, inOrder, ROLES, type Role } from './directory.ts'
import type { NodeFigures } from './node-figures.ts'
import { RestartPolicy } from './restart-policy.ts'
import { applyStatus, SupervisedActor } from './supervised-actor.ts'
import type { BootFacts, ToPrimary } from './wire.ts'
import { type WorkerEnd, WorkerProcess } from './worker-process.ts'

/** The primary receives a connection only while it can open this many more files. */
const SPARE_FILES = 8

/** With the flag of `worker-boot.ts`. */
const WORKER_FLAGS = ['--max-semi-space-size=16']

/** Options of a supervisor. */
export interface SupervisorOptions extends Omit<BootFacts, 'name' | 'role' | 'time' | 'known'> {
  /** True where other nodes may belong to the system: then names of actors carry this node's. */
  isOneOfSeveral: boolean
  /** The module a worker process runs. */
  exec: string
  /** Its arguments. */
  args: readonly string[]
  clock: Clock
  random: Random
  logger: Logger
  timeKeeper: TimeKeeper
  memory: ClusterMemory
  /** Of this node, and those that other nodes have told. */
  figures: NodeFigures
  otherTotals: () => readonly NodeTotals[]
  /** Called when a process was started or has ended. */
  onChange: () => void
  /** The actors of other nodes. */
  others: () => readonly ActorEntry[]
  /** What is wrong with other nodes, human-readable. */
  warnings: () => string[]
  /**
   * Before the actors of a role are restarted: the configuration that processes boot with from now on.
   *
   * @throws {MailroomError} It is wrong: then nothing is restarted, and the last one stays in force.
   */
  reconfigure?: (role: Role, config: RuntimeConfig) => RuntimeConfig
}

/** Runs the actors of one node. */
export class Supervisor {
  readonly #options: SupervisorOptions
  #config: RuntimeConfig
  readonly #actors = new Map<string, SupervisedActor>()
  /** All living processes: those of the actors, and new ones that are about to replace them. */
  readonly #processes = new Set<WorkerProcess>()
  /** Each entry of the directory as it was last sent, as JSON. */
  readonly #sent = new Map<string, string>()
  #sentWarnings = ''
  readonly #changeWaiters: (() => void)[] = []
  #sendScheduled = false
  readonly #history = new History()
  #sentAt = Number.NEGATIVE_INFINITY
  #operation: Promise<unknown> = Promise.resolve()
  #stopped: Promise<void> | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#config = options.config
    cluster.schedulingPolicy = cluster.SCHED_NONE
    cluster.setupPrimary({
      exec: options.exec,
      args: [...options.args],
      execArgv: WORKER_FLAGS,
      silent: true,
    })
    options.clock.every(CLOCK_CHECK_MS, () => this.#checkClock())
    options.clock.every(HEARTBEAT_MS, () => this.#history.add(this.#stats()))
  }

  /** All actors of this node, by role and number. */
  actors(): ActorEntry[] {
    return [...this.#actors.values()].map(({ entry }) => entry).sort(inOrder)
  }

  /** The other nodes have changed: sends the workers the directory within 50 ms. */
  othersChanged(): void {
    this.#changed()
  }

  /** Pids of the living processes. */
  pids(): number[] {
    return [...this.#processes].map(({ pid }) => pid)
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
   * @returns The new list, when the removed actors have drained and the others are ready.
   * @throws {MailroomError} `MR_PEER_LOST` when an actor keeps crashing, `MR_DRAINING` while all stops,
   * `MR_ROLE_ELSEWHERE` when this node was started without actors of the role.
   */
  scale(role: Role, count: number, asker?: WorkerProcess): Promise<ActorEntry[]> {
    return this.#operate(asker, async (answer) => {
      this.#refuseElsewhere(role, `set ${role.toUpperCase()}=${count} and run docker compose up -d`)
      this.#options.logger.info({ role, count }, 'scaling')
      this.#grow(role, count)
      const leaving = this.#actorsOf(role).slice(count)
      for (const actor of leaving) actor.wanted = false
      const remove = async (actor: SupervisedActor) => {
        await this.#drain(actor, DRAIN_MS)
        this.#actors.delete(actor.entry.name)
        this.#changed()
      }
      const asking = leaving.filter(isAsker(asker))
      await Promise.all(leaving.filter((actor) => !asking.includes(actor)).map(remove))
      await this.#allReady((actor) => actor.entry.role === role && actor.wanted)
      answer(this.#directory().filter(({ name }) => this.#actors.get(name)?.wanted !== false))
      await Promise.all(asking.map(remove))
    })
  }

  /** Replaces the processes of a role's actors, one by one. @returns, @throws as `scale`. */
  restart(role: Role, asker?: WorkerProcess): Promise<ActorEntry[]> {
    return this.#operate(asker, async (answer) => {
      this.#refuseElsewhere(role, `run docker compose restart ${role}`)
      this.#options.logger.info({ role }, 'restarting')
      this.#config = this.#options.reconfigure?.(role, this.#config) ?? this.#config
      const actors = this.#actorsOf(role)
      const asking = actors.filter(isAsker(asker))
      for (const actor of actors) if (!asking.includes(actor)) await this.#replace(actor, () => {})
      for (const actor of asking) await this.#replace(actor, () => answer(this.#directory()))
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
    for (const actor of this.#actors.values()) {
      actor.wanted = false
      actor.cancelRestart?.()
      actor.entry.state = 'draining'
    }
    await Promise.all([...this.#processes].map((process) => process.kill()))
  }

  async #stop(): Promise<void> {
    for (const actor of this.#actors.values()) actor.wanted = false
    for (const role of ROLES) {
      await Promise.all(this.#actorsOf(role).map((actor) => this.#drain(actor, STOP_MS[role])))
    }
    await this.kill()
  }

  /**
   * Runs one operation at a time, none whose asker was refused meanwhile because it drains. `answer` resolves the
   * caller's promise, possibly before the work has ended.
   */
  #operate(
    asker: WorkerProcess | undefined,
    work: (answer: (actors: ActorEntry[]) => void) => Promise<void>,
  ): Promise<ActorEntry[]> {
    return new Promise((resolve, reject) => {
      this.#operation = this.#operation.then(async () => {
        try {
          this.#refuseWhileStopping()
          if (asker?.isLeaving) throw new MailroomError('MR_DRAINING', { name: asker.name })
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
      if (this.#actors.has(name)) continue
      const policy = new RestartPolicy(clock, random)
      const actor = new SupervisedActor({ name, role, node }, config.mailboxCapacity, policy)
      this.#actors.set(name, actor)
      this.#startProcess(actor)
    }
  }

  #startProcess(actor: SupervisedActor): WorkerProcess {
    const process = this.#fork(actor)
    actor.process = process
    actor.bootFailure = undefined
    actor.entry.pid = process.pid
    this.#changed()
    return process
  }

  /** Forks a process for an actor, which another process may still run. */
  #fork({ entry: { name, role } }: SupervisedActor): WorkerProcess {
    const { node, secret, clock, logger, timeKeeper, memory } = this.#options
    const facts = {
      name,
      role,
      node,
      config: this.#config,
      secret,
      time: timeKeeper.time,
      known: memory.known,
    }
    const process = new WorkerProcess(facts, clock, logger, {
      onMessage: (message, from, handle) => this.#receive(message, from, handle),
      onExit: (from, end) => this.#exited(from, end),
    })
    this.#processes.add(process)
    this.#options.onChange()
    return process
  }

  /**
   * Replaces an actor's process. The new one loads beside the old one, which is drained only then. A facade even serves
   * before the old one drains.
   *
   * @throws {MailroomError} Why the new process could not load; the old one goes on.
   */
  async #replace(actor: SupervisedActor, beforeDrain: () => void): Promise<void> {
    this.#refuseWhileStopping()
    const old = actor.process
    if (old?.boot === undefined) {
      await this.#drain(actor, DRAIN_MS)
      if (!actor.wanted) return
      actor.entry.state = 'starting'
      actor.entry.restarts++
      this.#startProcess(actor)
    } else {
      const next = this.#fork(actor)
      if (!(await next.prepared)) throw next.end?.failure ?? this.#replacementLost(actor, next)
      if (actor.process !== old || !actor.wanted) {
        await next.kill() // The old one crashed meanwhile and is restarted already, or all stops.
      } else if (actor.entry.role === 'facade') {
        actor.entry.restarts++
        this.#ready(actor, next)
        beforeDrain()
        await old.drain(DRAIN_MS, true)
      } else {
        await this.#drain(actor, DRAIN_MS)
        if (!actor.wanted) return
        actor.entry.state = 'starting'
        actor.entry.restarts++
        if (next.end === undefined) this.#begin(actor, next)
        else this.#startProcess(actor)
      }
    }
    await this.#allReady((other) => other === actor)
  }

  /** The process that has replaced the actor's former one may run the actor. */
  #begin(actor: SupervisedActor, process: WorkerProcess): void {
    actor.process = process
    actor.entry.pid = process.pid
    process.send({ kind: 'begin' })
    this.#changed()
  }

  #replacementLost({ entry }: SupervisedActor, { end }: WorkerProcess): MailroomError {
    const reason = `its new process ${end?.how}; the old one stays`
    return new MailroomError('MR_PEER_LOST', { peer: entry.name, reason })
  }

  /** Drains an actor's process. The actor has no process then. */
  async #drain(actor: SupervisedActor, timeoutMs: number): Promise<void> {
    actor.cancelRestart?.()
    actor.cancelRestart = undefined
    actor.entry.state = 'draining'
    this.#changed()
    await actor.process?.drain(timeoutMs, this.#otherFacade(actor.process) !== undefined)
    actor.process = undefined
  }

  /** Sends a facade's connection to another one, or back when there is none. */
  #passOn(connection: ConnectionHandle, from: WorkerProcess): void {
    const other = this.#otherFacade(from)
    if (other !== undefined) other.entry.connections = (other.entry.connections ?? 0) + 1
    ;(other?.process ?? from).sendConnection(connection)
  }

  /** The ready facade with the fewest connections, not counting one's own. */
  #otherFacade(own: WorkerProcess): SupervisedActor | undefined {
    return this.#actorsOf('facade')
      .filter(({ process, entry, wanted }) => process !== own && wanted && entry.state === 'ready')
      .sort((a, b) => (a.entry.connections ?? 0) - (b.entry.connections ?? 0))[0]
  }

  #receive(message: ToPrimary, from: WorkerProcess, handle?: ConnectionHandle): void {
    const actor = this.#actors.get(from.name)
    switch (message.kind) {
      case 'hello':
        from.send({
          kind: 'directory',
          changed: this.#directory(),
          removed: [],
          warnings: this.#options.warnings(),
        })
        break
      case 'prepared':
        if (actor?.process === from) from.send({ kind: 'begin' })
        break
      case 'ready':
        if (actor?.process === from) this.#ready(actor, from)
        break
      case 'status':
        if (actor?.process !== from) break
        if (applyStatus(actor, message.status)) this.#changed()
        break
      case 'figures':
        if (this.#processes.has(from)) this.#options.figures.received(from, message.changes)
        break
      case 'known':
        this.#options.memory.learn(message.known)
        break
      case 'room':
        from.send({ kind: 'room', hasRoom: hasRoomForFiles() })
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

  /** A process is ready and runs its actor from now on. */
  #ready(actor: SupervisedActor, process: WorkerProcess): void {
    actor.process = process
    if (actor.entry.state === 'draining') return
    actor.ready(process)
    this.#options.logger.info({ actor: actor.entry.name, worker: process.pid }, 'actor ready')
    this.#changed()
  }

  #exited(from: WorkerProcess, end: WorkerEnd): void {
    this.#processes.delete(from)
    this.#options.figures.ended(from)
    this.#options.onChange()
    const actor = this.#actors.get(from.name)
    if (actor?.process !== from || actor.entry.state === 'draining') return
    const { delayMs, failed } = actor.crashed(end)
    this.#options.logger.warn({ actor: from.name, delayMs: Math.round(delayMs), failed }, 'actor restarts')
    actor.cancelRestart = this.#options.clock.after(delayMs, () => {
      actor.cancelRestart = undefined
      this.#startProcess(actor)
    })
    this.#changed()
  }

  /** Replaces a worker that got a signal, unless the signal was sent to the whole node, which then drains. */
  #replaceSignalled(from: WorkerProcess): void {
    this.#options.clock.after(SIGNAL_GRACE_MS, () => {
      const actor = this.#actors.get(from.name)
      if (this.#stopped !== undefined || actor?.process !== from) return
      void this.#operate(undefined, async (answer) => {
        if (actor.process === from) await this.#replace(actor, () => {})
        answer([])
      }).catch(() => {}) // Logged by the operation.
    })
  }

  /** Answers a worker, at the latest when its drain begins: the drain waits for the requests in flight. */
  async #answer(ask: Extract<ToPrimary, { kind: 'ask' }>, from: WorkerProcess): Promise<void> {
    const { id } = ask
    if (ask.what === 'metrics') {
      from.send({ kind: 'answer', id, value: await this.#options.figures.metrics(ask.format) })
      return
    }
    if (ask.what === 'stats' || ask.what === 'history') {
      from.send({ kind: 'answer', id, value: ask.what === 'stats' ? this.#stats() : this.#history.points() })
      return
    }
    const refused = from.leaving.then(() => {
      throw new MailroomError('MR_DRAINING', { name: from.name })
    })
    try {
      const done = ask.what === 'scale' ? this.scale(ask.role, ask.count, from) : this.restart(ask.role, from)
      const actors = await Promise.race([done, refused])
      this.#sendDirectory() // A read of the asking facade after the answer shows the change.
      from.send({ kind: 'answer', id, value: actors })
    } catch (error) {
      from.send({ kind: 'answer', id, error: toWire(error) })
    }
  }

  #stats(): Stats {
    const { figures, otherTotals, timeKeeper, clock } = this.#options
    const now = timeAt(timeKeeper.time, clock.monotonic())
    return statsOf([figures.totals(), ...otherTotals()], this.#directory(), now)
  }

  /** Resolves when the chosen actors are ready. */
  async #allReady(chosen: (actor: SupervisedActor) => boolean): Promise<void> {
    for (;;) {
      this.#refuseWhileStopping()
      const actors = [...this.#actors.values()].filter(chosen)
      for (const { bootFailure } of actors) if (bootFailure !== undefined) throw bootFailure
      const failed = actors.find(({ entry }) => entry.state === 'failed')
      if (failed !== undefined) {
        throw new MailroomError('MR_PEER_LOST', {
          peer: failed.entry.name,
          reason: `it keeps crashing: its last process ${failed.lastEnd}`,
        })
      }
      if (actors.every(({ entry }) => entry.state === 'ready')) return
      await new Promise<void>((resolve) => this.#changeWaiters.push(resolve))
    }
  }

  #actorsOf(role: Role): SupervisedActor[] {
    return this.actors()
      .filter((entry) => entry.role === role)
      .map(({ name }) => this.#actors.get(name)!)
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
    if (this.#sendScheduled) return
    this.#sendScheduled = true
    const { clock } = this.#options
    const delayMs = Math.max(0, this.#sentAt + DIRECTORY_PERIOD_MS - clock.monotonic())
    clock.after(delayMs, () => this.#sendDirectory(), { unref: true })
  }

  /** Sends the workers what has changed in the directory. */
  #sendDirectory(): void {
    this.#sendScheduled = false
    const actors = this.#directory()
    const names = new Set(actors.map(({ name }) => name))
    const removed = [...this.#sent.keys()].filter((name) => !names.has(name))
    for (const name of removed) this.#sent.delete(name)
    const changed = actors.filter((entry) => {
      const json = JSON.stringify(entry)
      if (this.#sent.get(entry.name) === json) return false
      this.#sent.set(entry.name, json)
      return true
    })
    const warnings = this.#options.warnings()
    const hasNewWarnings = warnings.join('\n') !== this.#sentWarnings
    this.#sentWarnings = warnings.join('\n')
    if (changed.length + removed.length === 0 && !hasNewWarnings) return
    this.#sentAt = this.#options.clock.monotonic()
    for (const process of this.#processes) process.send({ kind: 'directory', changed, removed, warnings })
  }

  #checkClock(): void {
    const { timeKeeper } = this.#options
    if (!timeKeeper.tick()) return
    for (const process of this.#processes) process.send({ kind: 'time', time: timeKeeper.time })
  }
}

/** Selects the actor that asked for an operation. */
function isAsker(asker: WorkerProcess | undefined): (actor: SupervisedActor) => boolean {
  return ({ process }) => asker !== undefined && process === asker
}

/** True when this process can open `SPARE_FILES` more files, as several facades may send a connection at once. */
function hasRoomForFiles(): boolean {
  const files: number[] = []
  try {
    while (files.length < SPARE_FILES) files.push(openSync(devNull, 'r'))
    return true
  } catch {
    return false
  } finally {
    for (const file of files) closeSync(file)
  }
}
