/**
 * A simulated node: the processes of one machine and a supervisor that keeps them, by the rules of the real one
 * (`runtime/supervisor.ts`, which is bound to node:cluster): the same restart policy, the same states in the
 * directory, drains in the same order. The supervisor has no faults of its own but to die with its node.
 */

import type { ActorContext, BootedActor } from '../../src/runtime/cluster/actor-context.ts'
import {
  type ActorEntry,
  actorName,
  actorNumber,
  ROLES,
  type Role,
} from '../../src/runtime/cluster/directory.ts'
import { RestartPolicy } from '../../src/runtime/cluster/restart-policy.ts'
import { update } from '../../src/runtime/cluster/slot.ts'
import { isMailroomError } from '../../src/runtime/errors.ts'
import type { Logger } from '../../src/runtime/logger.ts'
import { DRAIN_MS, HEARTBEAT_MS, DIRECTORY_PERIOD_MS as TELL_PERIOD_MS } from '../../src/runtime/timings.ts'
import type { NodeConfig } from '../../src/settings/config.ts'
import { TestDirectory } from '../support/actor-context.ts'
import { type Machine, SimProcess } from './process.ts'
import type { Rng } from './rng.ts'
import type { Scheduler } from './scheduler.ts'

/** A process that has been silent for so long is killed. */
const SILENT_MS = 3500
/** Another node that has been silent for so long is forgotten. */
const NODE_SILENT_MS = 5000

/** What happens on purpose in a simulated world when a disk fails: an actor may end because of it. */
export class SimulatedFault extends Error {}

/** What an actor may end for. */
function isExpected(error: unknown): boolean {
  return error instanceof SimulatedFault || isMailroomError(error, 'MR_DATA_LOCKED')
}

/** What nodes of one world share. */
export interface NodeOptions {
  scheduler: Scheduler
  rng: Rng
  config: NodeConfig
  logger: Logger
  /** Boots an actor in a process. */
  boot: (world: ActorContext<NodeConfig>, process: SimProcess) => Promise<BootedActor>
  /** Something happened that no code should do. */
  onBug: (what: string) => void
  bugs?: NodeBugs
}

/** How a planted bug makes a supervisor go wrong. */
export interface NodeBugs {
  /** Whatever died is started again so late. */
  restartAfterMs?: number
}

interface Slot {
  entry: ActorEntry
  policy: RestartPolicy
  process: SimProcess | undefined
  hosted: BootedActor | undefined
  directory: TestDirectory
  silentSince: number | undefined
  /** A message made its process end. */
  forMessage: boolean
  wanted: boolean
}

/** One node. */
export class SimNode {
  readonly machine: Machine
  /** All nodes, this one among them; to be filled by whoever makes them. */
  readonly peers: SimNode[] = []
  readonly #options: NodeOptions
  readonly #counts: Record<Role, number>
  readonly #slots = new Map<string, Slot>()
  readonly #heard = new Map<SimNode, { entries: ActorEntry[]; at: number }>()
  #up = false
  #incarnation = 0
  /** Grows when the node dies: what its supervisor was about ends there. */
  #life = 0
  #tellScheduled = false
  #operation: Promise<unknown> = Promise.resolve()
  #died = Promise.withResolvers<void>()

  constructor(name: string, counts: Record<Role, number>, options: NodeOptions) {
    this.machine = { name, clockOffsetMs: 0 }
    this.#counts = { ...counts }
    this.#options = options
    this.#beat()
  }

  get up(): boolean {
    return this.#up
  }

  /** The running processes, by actor. */
  processes(): SimProcess[] {
    return [...this.#slots.values()].flatMap(({ process }) => (process?.alive ? [process] : []))
  }

  /** Its part of the directory. */
  entries(): ActorEntry[] {
    if (!this.#up) return []
    return [...this.#slots.values()]
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
    // At its first start nobody else is there yet.
    if (this.#life > 0) this.#listen()
    for (const role of ROLES) this.#grow(role, this.#counts[role])
  }

  /** All its processes die at once. */
  crash(): void {
    this.#up = false
    for (const { process } of this.#slots.values()) process?.die()
    this.#slots.clear()
    this.#operation = Promise.resolve()
    this.#life++
    this.#died.resolve()
    this.#died = Promise.withResolvers()
  }

  /** Runs so many actors of a role; the new ones first, then the others are drained. Resolves when it is done. */
  scale(role: Role, count: number): Promise<unknown> {
    this.#counts[role] = count
    return this.#operate(async () => {
      this.#grow(role, count)
      const leaving = [...this.#slots.values()].filter(
        ({ entry }) => entry.role === role && actorNumber(entry.name) > count,
      )
      for (const slot of leaving) slot.wanted = false
      await Promise.all(
        leaving.map(async (slot) => {
          await this.#drain(slot)
          this.#slots.delete(slot.entry.name)
          this.#changed()
        }),
      )
    })
  }

  /** Replaces the processes of a role, one by one. Resolves when it is done. */
  restart(role: Role): Promise<unknown> {
    return this.#operate(async () => {
      for (const slot of [...this.#slots.values()]) {
        if (slot.entry.role !== role || !slot.wanted) continue
        await this.#drain(slot)
        slot.entry.state = 'starting'
        this.#fork(slot)
        await this.#until(() => slot.entry.state === 'ready')
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
      if (this.#slots.has(name)) continue
      const { config, scheduler, rng } = this.#options
      const clock = { monotonic: () => scheduler.now } as ConstructorParameters<typeof RestartPolicy>[0]
      const slot: Slot = {
        entry: {
          ...{ name, role, node: this.machine.name, pid: 0, state: 'starting', restarts: 0 },
          ...{ address: null, handled: 0, missing: [] },
          mailbox: { depth: 0, capacity: config.mailboxCapacity, refused: 0 },
        },
        policy: new RestartPolicy(clock, rng.next),
        ...{ process: undefined, hosted: undefined, silentSince: undefined, forMessage: false, wanted: true },
        directory: new TestDirectory(),
      }
      this.#slots.set(name, slot)
      this.#fork(slot)
    }
  }

  #nameOf(role: Role, number: number): string {
    return this.peers.length > 1 ? `${actorName(role, number)}@${this.machine.name}` : actorName(role, number)
  }

  #fork(slot: Slot): void {
    const { scheduler, rng } = this.#options
    const name = `${slot.entry.name}#${++this.#incarnation}`
    const process = new SimProcess(scheduler, name, this.machine, rng.fork())
    slot.process = process
    slot.hosted = undefined
    slot.silentSince = undefined
    slot.forMessage = false
    slot.directory = new TestDirectory()
    slot.entry.pid = this.#incarnation
    process.onDeath(() => this.#exited(slot, process))
    process.clock.after(rng.between(20, 150), () => this.#boot(slot, process))
    this.#changed()
  }

  #boot(slot: Slot, process: SimProcess): void {
    const { boot, config, logger, onBug, scheduler } = this.#options
    const { name, role } = slot.entry
    const { directory } = slot
    directory.set(...this.#view())
    const world: ActorContext<NodeConfig> = {
      ...{ name, role, node: this.machine.name, config, secret: 'secret', logger, directory },
      ...{ clock: process.clock, random: process.rng.next },
      scale: async () => this.entries(),
      restart: async () => this.entries(),
      passOn() {},
      changed: () => {
        if (process.leaves()) scheduler.after(1, () => this.#hear(slot, process))
      },
      fail: (error) => {
        if (process.alive && !isExpected(error)) {
          onBug(`${process.name} failed: ${error instanceof Error ? error.stack : error}`)
        }
        scheduler.note(`${process.name} fails: ${error}`)
        process.die()
        return undefined as never
      },
      failForMessage: (error) => {
        scheduler.note(`${process.name} ends for a message: ${error}`)
        slot.forMessage ||= slot.process === process
        process.die()
        return undefined as never
      },
    }
    boot(world, process).then(
      (hosted) => {
        if (!process.leaves() || slot.process !== process) return
        slot.hosted = hosted
        slot.entry.address = hosted.address
        if (slot.entry.state !== 'draining') slot.entry.state = 'ready'
        slot.policy.ready()
        update(slot, hosted.status())
        scheduler.note(`${process.name} ready`)
        this.#changed()
      },
      (error: unknown) => world.fail(error),
    )
  }

  #exited(slot: Slot, process: SimProcess): void {
    const { scheduler } = this.#options
    scheduler.note(`${process.name} is dead`)
    if (!this.#up || slot.process !== process) return
    slot.process = undefined
    slot.hosted = undefined
    if (slot.entry.state === 'draining') return
    const { delayMs, failed } = slot.policy.crashed(slot.forMessage)
    Object.assign(slot.entry, { state: failed ? 'failed' : 'restarting', pid: 0, address: null, suspects: 0 })
    delete slot.entry.lanes
    slot.entry.restarts++
    scheduler.after(this.#options.bugs?.restartAfterMs ?? delayMs, () => {
      if (this.#slots.get(slot.entry.name) !== slot || slot.process !== undefined) return
      if (slot.entry.state !== 'draining') this.#fork(slot)
    })
    this.#changed()
  }

  async #drain(slot: Slot): Promise<void> {
    const { scheduler, onBug } = this.#options
    slot.entry.state = 'draining'
    this.#changed()
    const { process, hosted } = slot
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
    if (slot.process === process) slot.process = undefined
  }

  #hear(slot: Slot, process: SimProcess): void {
    if (slot.process !== process || slot.hosted === undefined || !process.alive) return
    const before = JSON.stringify(slot.entry)
    const status = slot.hosted.status()
    update(slot, status)
    if (JSON.stringify(slot.entry) !== before) this.#changed()
  }

  #beat(): void {
    const { scheduler } = this.#options
    scheduler.after(HEARTBEAT_MS, () => this.#beat())
    if (!this.#up) return
    for (const slot of this.#slots.values()) {
      const { process } = slot
      if (process === undefined) continue
      if (!process.frozen) {
        slot.silentSince = undefined
        this.#hear(slot, process)
        continue
      }
      slot.silentSince ??= scheduler.now
      if (scheduler.now - slot.silentSince < SILENT_MS - HEARTBEAT_MS) continue
      scheduler.note(`${process.name} is silent, and killed`)
      process.die()
    }
    this.#listen()
  }

  /** Hears what the other nodes tell. */
  #listen(): void {
    const { scheduler } = this.#options
    let changed = false
    for (const peer of this.peers) {
      if (peer === this) continue
      const heard = this.#heard.get(peer)
      if (peer.#up) {
        const entries = peer.entries()
        changed ||= JSON.stringify(entries) !== JSON.stringify(heard?.entries)
        this.#heard.set(peer, { entries, at: scheduler.now })
      } else if (heard !== undefined && scheduler.now - heard.at > NODE_SILENT_MS) {
        this.#heard.delete(peer)
        changed = true
      }
    }
    if (changed) this.#changed()
  }

  #view(): ActorEntry[] {
    const others = [...this.#heard.values()].flatMap(({ entries }) => entries)
    return [...this.entries(), ...others].sort(
      (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || (a.name < b.name ? -1 : 1),
    )
  }

  #changed(): void {
    if (this.#tellScheduled) return
    this.#tellScheduled = true
    this.#options.scheduler.after(TELL_PERIOD_MS, () => {
      this.#tellScheduled = false
      if (!this.#up) return
      const view = this.#view()
      for (const { process, directory } of this.#slots.values()) {
        if (process === undefined) continue
        process.clock.after(this.#options.rng.between(0.1, 5), () => directory.set(...view))
      }
    })
  }
}
