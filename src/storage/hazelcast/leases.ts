/**
 * Who holds which lane: an entry a lane that ends by itself after 5 s unless its holder renews it. Nothing stored
 * depends on it: every write of a holder may be repeated, or come late. But of two holders at once, neither would
 * show what the other has taken.
 *
 * A holder trusts its own clock: 4 s after it last asked it has lost the lane, whatever the cluster would say. So a
 * cluster that came back empty does not know all who hold. As long as it is young, a lane is taken by its last holder
 * only; or by who never knew another cluster, if the directory names nobody who holds it.
 */

import type { Clock } from '../../runtime/clock.ts'
import { LEASE_MARGIN_MS, LEASE_MS, LEASE_RENEW_MS } from '../../runtime/timings.ts'
import { type ClusterMap, onlyAway } from './cluster.ts'
import { laneName } from './entries.ts'
import type { ClusterMark } from './mark.ts'

/** What keeps leases. */
export interface LeasesOptions {
  map: ClusterMap
  /** Knows whether the cluster came back empty. */
  mark: Pick<ClusterMark, 'confirm' | 'isYoung' | 'cameBack'>
  /** True while another is known to hold a lane, as far as it told. */
  isElsewhere: (lane: number) => boolean
  laneCount: number
  /** The actor's name: its successor takes over at once what it held. */
  owner: string
  /** One process of the owner. */
  incarnation: string
  clock: Clock
  /** A lane is no longer ours, though we did not give it back. */
  onLost: (lane: number) => void
}

/** The leases of one process. */
export class Leases {
  readonly #options: LeasesOptions
  readonly #value: string
  /** Lane -> until when (monotonic, ms). */
  readonly #heldUntil = new Map<number, number>()
  /** Of lanes whose leases were gone before their time: until then nobody else takes them. */
  readonly #lostUntil = new Map<number, number>()
  readonly #cancel: () => void
  #renewing = false
  #isAlone = false

  constructor(options: LeasesOptions) {
    this.#options = options
    this.#value = `${options.owner}#${options.incarnation}`
    this.#cancel = options.clock.every(LEASE_RENEW_MS, () => void this.#renew())
  }

  /** Takes a lane. @returns False while another has it. @throws {MailroomError} As `ClusterMap`. */
  async take(lane: number): Promise<boolean> {
    const { map, mark, owner, clock } = this.#options
    if (!this.#isFree(lane)) {
      await mark.confirm()
      if (!this.#isFree(lane)) return false
    }
    if (!this.#isAlone) await this.#freePredecessor()
    const key = laneName(lane)
    const until = clock.monotonic() + LEASE_MS - LEASE_MARGIN_MS
    const found = await map.putIfAbsent(key, this.#value, LEASE_MS)
    if (found === this.#value) {
      // From a call of ours whose outcome we did not learn: its time runs since then.
      if (!(await map.setTtl(key, LEASE_MS))) return false
    } else if (found !== undefined) {
      // Not replaced: a replaced entry has no end until a second call gives it one, and that call may be lost.
      if (!found.startsWith(`${owner}#`) || !(await map.removeIfSame(key, found))) return false
      if ((await map.putIfAbsent(key, this.#value, LEASE_MS)) !== undefined) return false
    }
    // Only after this can what was taken not be of a cluster that we do not know yet.
    await mark.confirm()
    if (!this.#isFree(lane)) {
      await map.removeIfSame(key, this.#value)
      return false
    }
    this.#heldUntil.set(lane, until)
    return true
  }

  /** True while the lane is ours by our own clock. */
  isHeld(lane: number): boolean {
    return (this.#heldUntil.get(lane) ?? 0) > this.#options.clock.monotonic()
  }

  /** Asks the cluster. @returns False, and the lane is lost, when it knows nothing of our lease. */
  async confirm(lane: number): Promise<boolean> {
    if ((await this.#options.map.get(laneName(lane))) !== this.#value) this.#lose(lane)
    return this.isHeld(lane)
  }

  /** Gives a lane back; one that cannot be given back now ends by itself. */
  async giveBack(lane: number): Promise<void> {
    if (!this.#heldUntil.delete(lane)) return
    await this.#options.map.removeIfSame(laneName(lane), this.#value).catch(onlyAway)
  }

  /** Lets a lease end by itself: a renewal that is under way does not bring it back. */
  forget(lane: number): void {
    this.#heldUntil.delete(lane)
  }

  /** Forgets all lanes, without a word to the cluster. */
  close(): void {
    this.#cancel()
    this.#heldUntil.clear()
  }

  /** False while another may hold it of whom the cluster knows nothing any more. */
  #isFree(lane: number): boolean {
    const { mark, clock, isElsewhere } = this.#options
    if (!mark.isYoung || clock.monotonic() < (this.#lostUntil.get(lane) ?? 0)) return true
    return !mark.cameBack && !isElsewhere(lane)
  }

  /** What an earlier process of the owner held is free: others to whom it was dealt need not wait for its end. */
  async #freePredecessor(): Promise<void> {
    const { map, owner, laneCount } = this.#options
    const found = await map.getAll(Array.from({ length: laneCount }, (_, lane) => laneName(lane)))
    const others = [...found].filter(([, value]) => value.startsWith(`${owner}#`) && value !== this.#value)
    await Promise.all(others.map(([key, value]) => map.removeIfSame(key, value)))
    this.#isAlone = true
  }

  async #renew(): Promise<void> {
    if (this.#renewing) return
    this.#renewing = true
    await this.#renewAll().catch(onlyAway)
    this.#renewing = false
    for (const lane of this.#heldUntil.keys()) if (!this.isHeld(lane)) this.#lose(lane)
  }

  async #renewAll(): Promise<void> {
    const { map, clock } = this.#options
    const lanes = [...this.#heldUntil.keys()].filter((lane) => this.isHeld(lane))
    if (lanes.length === 0) return
    const until = clock.monotonic() + LEASE_MS - LEASE_MARGIN_MS
    const found = await map.getAll(lanes.map(laneName))
    await Promise.all(
      lanes.map(async (lane) => {
        const key = laneName(lane)
        const isOurs = found.get(key) === this.#value && (await map.setTtl(key, LEASE_MS))
        if (!this.#heldUntil.has(lane)) return // Given back meanwhile.
        if (isOurs) this.#heldUntil.set(lane, until)
        else this.#lose(lane)
      }),
    )
  }

  #lose(lane: number): void {
    const until = this.#heldUntil.get(lane)
    if (until === undefined) return
    this.#heldUntil.delete(lane)
    this.#lostUntil.set(lane, until)
    this.#options.onLost(lane)
  }
}
