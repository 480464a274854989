/**
 * A simulated node: the processes of one machine and their supervisor. It follows the rules of the
 * real one (`runtime/cluster/supervisor.ts`, which is bound to node:cluster): the same restart policy, states and
 * order of drains. The supervisor fails only with its whole node.
 */

import type { ActorContext, BootedActor } from '../../src/runtime/cluster/actor-context.ts'
import { ClusterMemory, NOWHERE } from '../../src/runtime/cluster/cluster-memory.ts'
import {
  type ActorEntry,
  actorName,
  actorNumber,
  ROLES,
  type Role,
} from '../../src/runtime/cluster/directory.ts'
import { RestartPolicy } from '../../src/runtime/cluster/restart-policy.ts'
import { applyStatus } from '../../src/runtime/cluster/supervised-actor.ts'
import { isMailroomError } from '../../src/runtime/errors.ts'
import { Figures } from '../../src/runtime/figures.ts'
import type { Logger } from '../../src/runtime/logger.ts'
import { type StoredTime, TimeKeeper } from '../../src/runtime/node-time.ts'
import { CLOCK_CHECK_MS, DIRECTORY_PERIOD_MS, DRAIN_MS, HEARTBEAT_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import { noPrimary, TestDirectory } from '../support/actor-context.ts'
import { type Machine, SimProcess, wallClockOf } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** A process that has sent nothing for this long is killed. */
const SILENT_MS = 3500
/** Another node that has not answered for this long is forgotten. */
const NODE_SILENT_MS = 5000

/** A disk failure that the simulation causes on purpose. An actor may end because of it. */
export class SimulatedFault extends Error {}

/** True for an error that may end an actor. */
function isExpected(error: unknown): boolean {
  return error instanceof SimulatedFault || isMailroomError(error, 'MR_DATA_LOCKED')
}

/** What all nodes of a simulated world share. */
export interface NodeOptions {
  scheduler: Scheduler
  rng: Rng
  config: NodeConfig
  logger: Logger
  /** Boots an actor in a process. */
  boot: (world: ActorContext<NodeConfig>, process: SimProcess) => Promise<BootedActor>
  /** Called when the code under test has a bug. */
  onBug: (what: string) => void
  bugs?: NodeBugs
  /** Of a node with a data directory: the instant of the newest message in its log. */
  newest: (() => number | undefined) | undefined
}

/** Bugs planted in a supervisor. */
export interface NodeBugs {
  /** A dead process is restarted after this time, whatever its backoff. */
  restartAfterMs?: number
  /** Messages are stamped with the wall clock. */
  stampsWithWallClock?: boolean
  /** Its data directory does not keep what it knows of the clusters. */
  forgetsClusters?: boolean
}

interface SimActor {
  entry: ActorEntry
  policy: RestartPolicy
  process: SimProcess | undefined
  hosted: BootedActor | undefined
  directory: TestDirectory
  silentSince: number | undefined
  wanted: boolean
}

/** One node. */
export class SimNode {
  readonly machine: Machine
  /** All nodes, including this one. Filled by the world that makes them. */
  readonly peers: SimNode[] = []
  readonly #options: NodeOptions
  readonly #counts: Record<Role, number>
  readonly #actors = new Map<string, SimActor>()
  readonly #reports = new Map<SimNode, { entries: ActorEntry[]; at: number }>()
  #up = false
  #incarnation = 0
  /** Grows when the node dies. An operation of its supervisor ends with its life. */
  #life = 0
  /** What its data directory keeps of its time. */
  #storedTime: StoredTime | undefined
  /** What it knows of the clusters. Its data directory keeps it. */
  #memory: ClusterMemory
  #sendScheduled = false
  #operation: Promise<unknown> = Promise.resolve()
  #died = Promise.withResolvers<void>()

  constructor(name: string, counts: Record<Role, number>, options: NodeOptions) {
    this.machine = { name, clockOffsetMs: 0, boot: 1 }
    this.#counts = { ...counts }
    this.#options = options
    this.#memory = new ClusterMemory({}, NOWHERE, options.logger)
    this.#heartbeat()
  }

  get up(): boolean {
    return this.#up
  }

  /** The running processes, by actor. */
  processes(): SimProcess[] {
    return [...this.#actors.values()].flatMap(({ process }) => (process?.alive ? [process] : []))
  }

  /** Its part of the directory. */
  entries(): ActorEntry[] {
    if (!this.#up) return []
    return [...this.#actors.values()]
      .map(({ entry }) => ({ ...entry }))
      .sort(
        (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || actorNumber(a.name) - actorNumber(b.name),
      )
  }

  /** True when all its actors are ready, as many as there should be. */
  settled(): boolean {
    const entries = this.entries()
    return (
      this.#up &&
      entries.every(({ state }) => state === 'ready') &&
      ROLES.every((role) => entries.filter((entry) => entry.role === role).length === this.#counts[role])
    )
  }

  start(): void {
    if (this.#up) return
    this.#up = true
    // At its first start the other nodes do not run yet.
    if (this.#life > 0) this.#pollPeers()
    this.#keepTime()
    for (const role of ROLES) this.#grow(role, this.#counts[role])
  }

  /** Draws the line of its time, for this life. */
  #keepTime(): void {
    const { scheduler, config, logger, newest, bugs } = this.#options
    const { machine } = this
    if (bugs?.stampsWithWallClock) return
    const life = this.#life
    const keeper = new TimeKeeper({
      machine: {
        wall: () => wallClockOf(scheduler, machine),
        ...{ monotonic: () => scheduler.now, uptime: () => scheduler.now, bootId: String(machine.boot) },
      },
      ...{ stored: newest && this.#storedTime, newest: newest?.(), retentionMs: config.retentionMs, logger },
      store: (time) => {
        this.#storedTime = time
        return true
      },
    })
    const check = () => {
      if (life !== this.#life) return
      keeper.tick()
      machine.time = keeper.time
      scheduler.after(CLOCK_CHECK_MS, check)
    }
    check()
  }

  /** All its processes die at once. */
  crash(): void {
    this.#up = false
    for (const { process } of this.#actors.values()) process?.die()
    this.#actors.clear()
    this.#operation = Promise.resolve()
    this.#life++
    const known = this.#options.bugs?.forgetsClusters ? {} : this.#memory.known
    this.#memory = new ClusterMemory(known, NOWHERE, this.#options.logger)
    this.#died.resolve()
    this.#died = Promise.withResolvers()
  }

  /** Runs `count` actors of a role. New ones start before surplus ones drain. Resolves when that is done. */
  scale(role: Role, count: number): Promise<unknown> {
    this.#counts[role] = count
    return this.#operate(async () => {
      this.#grow(role, count)
      const leaving = [...this.#actors.values()].filter(
        ({ entry }) => entry.role === role && actorNumber(entry.name) > count,
      )
      for (const actor of leaving) actor.wanted = false
      await Promise.all(
        leaving.map(async (actor) => {
          await this.#drain(actor)
          this.#actors.delete(actor.entry.name)
          this.#changed()
        }),
      )
    })
  }

  /** Replaces the processes of a role, one by one. Resolves when it is done. */
  restart(role: Role): Promise<unknown> {
    return this.#operate(async () => {
      for (const actor of [...this.#actors.values()]) {
        if (actor.entry.role !== role || !actor.wanted) continue
        await this.#drain(actor)
        actor.entry.state = 'starting'
        this.#fork(actor)
        await this.#until(() => actor.entry.state === 'ready')
      }
    })
  }

  #operate(work: () => Promise<void>): Promise<unknown> {
    if (!this.#up) return Promise.resolve()
    const life = this.#life
    this.#operation = this.#operation.then(() => (life === this.#life ? work() : undefined))
    return Promise.race([this.#operation, this.#died.promise])
  }

  /** Never resolves when the node dies meanwhile. */
  async #until(condition: () => boolean): Promise<void> {
    const { scheduler } = this.#options
    const life = this.#life
    while (life !== this.#life || !condition()) {
      if (life !== this.#life) await new Promise<never>(() => {})
      await new Promise<void>((resolve) => {
        scheduler.after(20, () => {
          scheduler.stirred = true
          resolve()
        })
      })
    }
  }

  #grow(role: Role, count: number): void {
    for (let number = 1; number <= count; number++) {
      const name = this.#nameOf(role, number)
      if (this.#actors.has(name)) continue
      const { config, scheduler, rng } = this.#options
      const clock = { monotonic: () => scheduler.now } as ConstructorParameters<typeof RestartPolicy>[0]
      const actor: SimActor = {
        entry: {
          ...{ name, role, node: this.machine.name, pid: 0, state: 'starting', restarts: 0 },
          ...{ address: null, handled: 0, missing: [] },
          mailbox: { depth: 0, capacity: config.mailboxCapacity, refused: 0 },
        },
        policy: new RestartPolicy(clock, rng.next),
        ...{ process: undefined, hosted: undefined, silentSince: undefined, wanted: true },
        directory: new TestDirectory(),
      }
      this.#actors.set(name, actor)
      this.#fork(actor)
    }
  }

  #nameOf(role: Role, number: number): string {
    return this.peers.length > 1 ? `${actorName(role, number)}@${this.machine.name}` : actorName(role, number)
  }

  #fork(actor: SimActor): void {
    const { scheduler, rng } = this.#options
    const name = `${actor.entry.name}#${++this.#incarnation}`
    const process = new SimProcess(scheduler, name, this.machine, rng.fork())
    actor.process = process
    actor.hosted = undefined
    actor.silentSince = undefined
    actor.directory = new TestDirectory()
    actor.entry.pid = this.#incarnation
    process.onDeath(() => this.#exited(actor, process))
    process.clock.after(rng.between(20, 150), () => this.#boot(actor, process))
    this.#changed()
  }

  #boot(actor: SimActor, process: SimProcess): void {
    const { boot, config, logger, onBug, scheduler } = this.#options
    const { name, role } = actor.entry
    const { directory } = actor
    directory.set(...this.#view())
    const world: ActorContext<NodeConfig> = {
      ...{ name, role, node: this.machine.name, config, secret: 'secret', logger, directory },
      ...{ clock: process.clock, random: process.rng.next, figures: new Figures(role), ...noPrimary },
      known: this.#memory.known,
      remember: (known) => this.#memory.learn(known),
      scale: async () => this.entries(),
      restart: async () => this.entries(),
      passOn: async () => true,
      changed: () => {
        if (process.leaves()) scheduler.after(1, () => this.#receiveStatus(actor, process))
      },
      fail: (error) => {
        if (process.alive && !isExpected(error)) {
          onBug(`${process.name} failed: ${error instanceof Error ? error.stack : error}`)
        }
        scheduler.note(`${process.name} fails: ${error}`)
        process.die()
        return undefined as never
      },
    }
    boot(world, process).then(
      (hosted) => {
        if (!process.leaves() || actor.process !== process) return
        actor.hosted = hosted
        actor.entry.address = hosted.address
        if (actor.entry.state !== 'draining') actor.entry.state = 'ready'
        actor.policy.ready()
        applyStatus(actor, hosted.status())
        scheduler.note(`${process.name} ready`)
        this.#changed()
      },
      (error: unknown) => world.fail(error),
    )
  }

  #exited(actor: SimActor, process: SimProcess): void {
    const { scheduler } = this.#options
    scheduler.note(`${process.name} is dead`)
    if (!this.#up || actor.process !== process) return
    actor.process = undefined
    actor.hosted = undefined
    if (actor.entry.state === 'draining') return
    const { delayMs, failed } = actor.policy.crashed()
    Object.assign(actor.entry, {
      state: failed ? 'failed' : 'restarting',
      pid: 0,
      address: null,
    })
    delete actor.entry.lanes
    actor.entry.restarts++
    scheduler.after(this.#options.bugs?.restartAfterMs ?? delayMs, () => {
      if (this.#actors.get(actor.entry.name) !== actor || actor.process !== undefined) return
      if (actor.entry.state !== 'draining') this.#fork(actor)
    })
    this.#changed()
  }

  async #drain(actor: SimActor): Promise<void> {
    const { scheduler, onBug } = this.#options
    actor.entry.state = 'draining'
    this.#changed()
    const { process, hosted } = actor
    if (process === undefined) return
    scheduler.note(`${process.name} drains`)
    let over = hosted === undefined
    if (hosted !== undefined) {
      process.reach(() => {
        hosted.drain(false).then(
          () => process.leaves() && scheduler.after(0, () => process.die()),
          (error: unknown) =>
            onBug(`${process.name} drains: ${error instanceof Error ? error.stack : error}`),
        )
      })
    }
    const timer = scheduler.after(DRAIN_MS, () => process.die())
    process.onDeath(() => {
      over = true
    })
    await this.#until(() => over || !process.alive)
    scheduler.cancel(timer)
    process.die()
    if (actor.process === process) actor.process = undefined
  }

  #receiveStatus(actor: SimActor, process: SimProcess): void {
    if (actor.process !== process || actor.hosted === undefined || !process.alive) return
    const before = JSON.stringify(actor.entry)
    const status = actor.hosted.status()
    applyStatus(actor, status)
    if (JSON.stringify(actor.entry) !== before) this.#changed()
  }

  #heartbeat(): void {
    const { scheduler } = this.#options
    scheduler.after(HEARTBEAT_MS, () => this.#heartbeat())
    if (!this.#up) return
    for (const actor of this.#actors.values()) {
      const { process } = actor
      if (process === undefined) continue
      if (!process.frozen) {
        actor.silentSince = undefined
        this.#receiveStatus(actor, process)
        continue
      }
      actor.silentSince ??= scheduler.now
      if (scheduler.now - actor.silentSince < SILENT_MS - HEARTBEAT_MS) continue
      scheduler.note(`${process.name} is silent, and killed`)
      process.die()
    }
    this.#pollPeers()
  }

  /** Reads the directories of the other nodes. */
  #pollPeers(): void {
    const { scheduler } = this.#options
    let changed = false
    for (const peer of this.peers) {
      if (peer === this) continue
      const report = this.#reports.get(peer)
      if (peer.#up) {
        const entries = peer.entries()
        changed ||= JSON.stringify(entries) !== JSON.stringify(report?.entries)
        this.#reports.set(peer, { entries, at: scheduler.now })
      } else if (report !== undefined && scheduler.now - report.at > NODE_SILENT_MS) {
        this.#reports.delete(peer)
        changed = true
      }
    }
    if (changed) this.#changed()
  }

  #view(): ActorEntry[] {
    const others = [...this.#reports.values()].flatMap(({ entries }) => entries)
    return [...this.entries(), ...others].sort(
      (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || (a.name < b.name ? -1 : 1),
    )
  }

  #changed(): void {
    if (this.#sendScheduled) return
    this.#sendScheduled = true
    this.#options.scheduler.after(DIRECTORY_PERIOD_MS, () => {
      this.#sendScheduled = false
      if (!this.#up) return
      const view = this.#view()
      for (const { process, directory } of this.#actors.values()) {
        if (process === undefined) continue
        process.clock.after(this.#options.rng.between(0.1, 5), () => directory.set(...view))
      }
    })
  }
}
