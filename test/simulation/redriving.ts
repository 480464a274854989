/** Redrive in a simulated world: which messages it must make pending again, and which it must leave alone. */
import { REDRIVE_AGE_MS } from '../../src/runtime/timings.ts'
import { timeOf } from '../../src/storage/ids.ts'
import type { Clients } from './clients.ts'
import type { HazelcastModel } from './hazelcast-backend.ts'
import { Losses, loggedIn, queuedIn } from './losses.ts'
import type { SimNode } from './node.ts'
import { agoOn } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { Showing } from './showing.ts'
import { passUntil, within } from './waiting.ts'

/** A redrive, and all it brings back, has an end by then: poison has its five starts again. */
const CALM_MS = 120_000

/** What it needs of its world. */
export interface RedrivingOptions {
  scheduler: Scheduler
  clients: Clients
  nodes: readonly SimNode[]
  showing: Showing
  /** The embedded backend loses nothing: nothing is to be brought back. */
  hazelcast: HazelcastModel | undefined
  /** False: a wall clock steps, so that a message may become younger. */
  clocksAgree: boolean
  /** True when nothing waits, and nothing is under way. */
  isQuiet: () => boolean
  onBug: (what: string) => void
}

/** All redrives of one history. */
export class Redriving {
  readonly #options: RedrivingOptions
  readonly #losses: Losses
  /** What a redrive has looked at since the queue lost something last: it is somewhere, and stays. */
  readonly #redriven = new Set<string>()
  #lossCount = 0
  /** What the queue had when all was quiet: its holders know of it. What a redrive has put there since, scans find later. */
  #queued = { ids: new Set<string>(), lossCount: 0 }

  constructor(options: RedrivingOptions) {
    this.#options = options
    this.#losses = options.hazelcast?.losses ?? new Losses()
  }

  /** Lets time pass until nothing in the log is too young. */
  async grow(): Promise<void> {
    const { scheduler } = this.#options
    const newestAt = Math.max(0, ...this.#logged().map(timeOf))
    for (;;) {
      const leftMs = newestAt - this.#youngestAt() + 1
      if (leftMs <= 0) return
      await scheduler.pass(leftMs)
    }
  }

  /** Again and again while faults happen. */
  async underFire(goOn: () => boolean): Promise<void> {
    while (goOn()) {
      await this.once(goOn)
      await this.#restore(goOn)
      await this.#options.clients.pause({ min: 50, max: 500 })
    }
  }

  /** The whole log, once. @returns As `Clients.redrive`. */
  async once(goOn: () => boolean): Promise<{ count: number; allTold: boolean } | undefined> {
    const { clients, showing, clocksAgree, onBug } = this.#options
    showing.ask()
    const { logCount, queueCount } = this.#losses
    const old = this.#logged().filter((id) => timeOf(id) < this.#youngestAt())
    const told = await clients.redrive(goOn)
    if (told === undefined) return undefined
    if (this.#losses.queueCount === 0 && told.count > 0) onBug(`${told.count} put back, and nothing was lost`)
    if (!clocksAgree) return told
    if (this.#losses.logCount === logCount && this.#losses.queueCount === queueCount) {
      this.#since(queueCount)
      for (const id of old) this.#redriven.add(id)
    }
    return told
  }

  /**
   * When all is quiet: once brings back all that is in the log only, and a second time nothing. Then all that is in the
   * queue is brought back into the log.
   */
  async inCalm(): Promise<void> {
    const { scheduler, isQuiet, onBug } = this.#options
    for (const count of [this.#nowhere().length, 0]) {
      const redrive = this.once(() => true)
      const told = await within(scheduler, CALM_MS, redrive)
      if (told === undefined) onBug('a redrive does not come to its end')
      else if (told.allTold && told.count !== count) onBug(`${told.count} put back instead of ${count}`)
      await passUntil(scheduler, CALM_MS, isQuiet)
      this.lookForGone()
    }
    this.#lookAtQueue()
    const restored = await within(
      scheduler,
      CALM_MS,
      this.#restore(() => true),
    )
    if (restored !== true) onBug('a redrive into the log does not come to its end')
  }

  /** What is old, was in the queue when all was quiet, and is in the queue only when it begins, is in the log when it has come to its end. */
  async #restore(goOn: () => boolean): Promise<boolean> {
    const { clients, hazelcast, clocksAgree, onBug } = this.#options
    const { logCount } = this.#losses
    const youngestAt = this.#youngestAt()
    const { ids, lossCount } = this.#queued
    const isKnown = (id: string) => ids.has(id) && lossCount === this.#losses.queueCount
    const old = (hazelcast?.unlogged() ?? []).filter((id) => timeOf(id) < youngestAt && isKnown(id))
    if (!(await clients.restore(goOn))) return false
    if (!clocksAgree || this.#losses.logCount !== logCount) return true
    const left = new Set(hazelcast?.unlogged())
    for (const id of old) if (left.has(id)) onBug(`not put back into the log: ${id}`)
    return true
  }

  /** When all is quiet. What is in the log only was in a queue that lost it, and no redrive has looked at it since. */
  lookForGone(): void {
    const { onBug } = this.#options
    this.#lookAtQueue()
    this.#since(this.#losses.queueCount)
    for (const id of this.#nowhere()) {
      if (this.#redriven.has(id)) onBug(`redriven, and gone again: ${id}`)
      else if (!this.#losses.queued.has(id)) onBug(`in the log only, and no queue lost it: ${id}`)
    }
  }

  #lookAtQueue(): void {
    const { hazelcast } = this.#options
    if (hazelcast === undefined) return
    this.#queued = { ids: queuedIn(hazelcast.queue), lossCount: this.#losses.queueCount }
  }

  /** Ids of messages that are in the log only. */
  #nowhere(): string[] {
    return this.#options.hazelcast?.nowhere() ?? []
  }

  #since(queueCount: number): void {
    if (this.#lossCount === queueCount) return
    this.#lossCount = queueCount
    this.#redriven.clear()
  }

  #logged(): string[] {
    const { hazelcast } = this.#options
    return hazelcast === undefined ? [] : loggedIn(hazelcast.log)
  }

  /** What is older may be redriven by all nodes, by their clocks. */
  #youngestAt(): number {
    const { nodes, scheduler } = this.#options
    return Math.min(...nodes.map(({ machine }) => agoOn(scheduler, machine, REDRIVE_AGE_MS)))
  }
}
