/**
 * Watches all lists during a history. No id may ever be in the lists of two messages actors. A message that was shown
 * before the queue lost all it held may not run again before a redrive.
 */
import type { SimProcess } from './process.ts'
import type { Scheduler } from './scheduler.ts'

/** Two that may show the same are looked at so often: the one may be about to take a lane, the other frozen. */
const LOOK_MS = 10

/** One messages actor's process. */
export interface Holder {
  process: SimProcess
  isHeld: (lane: number) => boolean
  /** True while a reader who asked now would be shown the lane. */
  isShowing: (lane: number) => boolean
}

/** What it needs of its world. */
export interface ShowingOptions {
  scheduler: Scheduler
  /** Told of each id that comes into a list. */
  onShown: (id: string) => void
  onBug: (what: string) => void
}

/** Watches all messages actors. */
export class Showing {
  readonly #options: ShowingOptions
  /** Ids by who shows them, or did before it lost the lane, and by lane. */
  readonly #lanes = new Map<Holder, Map<number, Set<string>>>()
  /** Pairs that are looked at. */
  readonly #pairs = new Set<string>()
  readonly #everShown = new Set<string>()
  readonly #done = new Set<string>()
  #asked = false

  constructor(options: ShowingOptions) {
    this.#options = options
  }

  /** A holder takes a lane, or gives it back: it shows nothing of it. */
  shutLane(holder: Holder, lane: number): void {
    this.#lanesOf(holder).set(lane, new Set())
  }

  /** These came into a holder's list, or came with one. */
  show(holder: Holder, lane: number, ids: readonly string[]): void {
    const own = this.#lanesOf(holder).get(lane)
    for (const id of ids) {
      own?.add(id)
      this.#everShown.add(id)
      this.#options.onShown(id)
      for (const [other, lanes] of this.#lanes) {
        if (other === holder) continue
        for (const [theirs, shown] of lanes) {
          if (shown.has(id)) this.#suspect(id, [holder, lane], [other, theirs])
        }
      }
    }
  }

  /** A holder begins to start or to settle these. */
  begin(ids: readonly string[]): void {
    if (this.#asked) return
    for (const id of ids) if (this.#done.has(id)) this.#options.onBug(`done again on its own: ${id}`)
  }

  /** A queue lost all it held. */
  lose(): void {
    for (const id of this.#everShown) this.#done.add(id)
  }

  /** Somebody asks for a redrive. */
  ask(): void {
    this.#asked = true
  }

  #suspect(id: string, first: [Holder, number], second: [Holder, number]): void {
    const pair = [first, second].map(([{ process }, lane]) => `${process.name}/${lane}`).join()
    if (this.#pairs.has(pair)) return
    this.#pairs.add(pair)
    const look = () => {
      const both = [first, second]
      const over = both.some(
        ([holder, lane]) => !holder.process.alive || !this.#lanes.get(holder)?.get(lane)?.has(id),
      )
      const awake = both.every(([{ process }]) => !process.frozen)
      if (over || (awake && both.some(([holder, lane]) => !holder.isHeld(lane)))) {
        this.#pairs.delete(pair)
        return
      }
      if (awake && both.every(([holder, lane]) => holder.isShowing(lane))) {
        this.#options.onBug(`${pair} show ${id} at one moment`)
        return
      }
      this.#options.scheduler.after(LOOK_MS, look)
    }
    look()
  }

  #lanesOf(holder: Holder): Map<number, Set<string>> {
    let lanes = this.#lanes.get(holder)
    if (lanes === undefined) {
      lanes = new Map()
      this.#lanes.set(holder, lanes)
      holder.process.onDeath(() => this.#lanes.delete(holder))
    }
    return lanes
  }
}
