/**
 * What a cluster was begun with: a random epoch and the number of lanes, in one entry. An open-source cluster has
 * no disk: one that comes back without the epoch that is known came back empty. That is reported until an operator
 * confirms it; nothing is redelivered by itself, as handlers would run twice.
 *
 * Who knows the epoch of a cluster that is gone: this process; its node, in `--data`, over restarts (`known`); and
 * the other store's cluster, which keeps it in its own `meta`. Whoever notices a loss writes it into the `meta` of
 * the cluster that is there, where all processes read it, and where it is confirmed. So all nodes report the same.
 *
 *   meta   begun    epoch, lanes, when
 *          young    ends 5 s after `begun`: leases of the cluster before it may still be trusted (`leases.ts`)
 *          losses   the clusters that were there before it, confirmed or not
 *          other    the other store's cluster, as it was seen last
 */

import type { Clock, Random } from '../../runtime/clock.ts'
import {
  type ClusterReport,
  type JournalReport,
  type KnownCluster,
  type Loss,
  lossOf,
  mergedLosses,
  type SeenCluster,
  type Store,
} from '../../runtime/losses.ts'
import { CLOCK_SKEW_MS, EPOCH_CHECK_MS, KNOWN_PERIOD_MS, NEW_CLUSTER_MS } from '../../runtime/timings.ts'
import type { Census } from './census.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, onlyAway, putOnce } from './cluster.ts'
import { NAMES } from './entries.ts'

const KEY = 'begun'
const YOUNG = 'young'
const LOSSES = 'losses'
const OTHER = 'other'

interface Begun {
  epoch: string
  lanes: number
  /** Ms since 1970; clusters that an earlier release began have none. */
  at?: number
}

/** What a mark needs. */
export interface ClusterMarkOptions {
  cluster: Cluster
  store: Store
  /** Its name in the settings. */
  name: string
  laneCount: number
  clock: Clock
  random: Random
  /** What the node knew of the cluster before this process. */
  known: KnownCluster | undefined
  /** Is given what this process knows, after each change. */
  remember: (known: KnownCluster) => void
  /** Counts what the cluster holds; null where others do it: then their reports count. */
  census: Census | null
  /** What the ready actors of all nodes report. */
  reports: () => readonly ClusterReport[]
}

/** Watches one cluster. */
export class ClusterMark {
  readonly #options: ClusterMarkOptions
  readonly #map: ClusterMap
  readonly #cancel: () => void
  #known: KnownCluster | undefined
  #other: SeenCluster | undefined
  /** What was reported last: it changes every `KNOWN_PERIOD_MS`, as the directory is sent to all. */
  #seen: SeenCluster | undefined
  /** What this process has found in the cluster; undefined until it has met one. */
  #begun: Begun | undefined
  #cameBack = false
  #isYoung = false

  constructor(options: ClusterMarkOptions) {
    this.#options = options
    this.#known = options.known
    this.#map = options.cluster.map(NAMES.meta)
    if (options.known !== undefined) options.census?.begin(options.known.perEntry)
    options.cluster.onConnect(() => void this.#check())
    this.#cancel = options.clock.every(EPOCH_CHECK_MS, () => void this.#check())
  }

  /** What keeps us from using the cluster, human-readable. */
  missing(): string[] {
    const { cluster, laneCount } = this.#options
    const missing = cluster.missing()
    if (missing !== undefined) return [missing]
    if (this.#begun === undefined || this.#begun.lanes === laneCount) return []
    return [`--lanes ${this.#begun.lanes}, which the cluster was begun with, instead of ${laneCount}`]
  }

  /** What this process knows, for all actors; undefined when it knows no cluster. */
  report(): ClusterReport | undefined {
    if (this.#known === undefined) return undefined
    const { store, epoch, name, count, losses } = this.#known
    const lastSeenAt = this.#known.lastSeenAt - (this.#known.lastSeenAt % KNOWN_PERIOD_MS)
    if (this.#seen?.epoch !== epoch || this.#seen.lastSeenAt !== lastSeenAt) {
      this.#seen = { store, epoch, name, lastSeenAt, count }
    }
    return { seen: this.#seen, losses, ...(this.#other !== undefined && { other: this.#other }) }
  }

  /** True when the cluster had been begun less than 5 s before it was confirmed last. */
  get isYoung(): boolean {
    return this.#isYoung
  }

  /** Of the cluster that was confirmed last; undefined while none is known. */
  get epoch(): string | undefined {
    return this.#begun?.epoch
  }

  /** When it was begun, empty (ms since 1970); 0 when that is not known. */
  get begunAt(): number {
    return this.#begun?.at ?? 0
  }

  /**
   * True when a journal may have something that this cluster, or a part of it, has not.
   *
   * @param at When it, or the part, was made whole (ms since 1970). Asked only of a journal that does not know of the
   * cluster: a cluster whose members all stop is away for longer than `CLOCK_SKEW_MS`.
   */
  lacks({ beganAt, beganIn }: Pick<JournalReport, 'beganAt' | 'beganIn'>, at = this.begunAt): boolean {
    if (beganAt === null) return false
    const epoch = beganIn[this.#options.store]
    return epoch === undefined ? beganAt < at - CLOCK_SKEW_MS : epoch !== this.epoch
  }

  /** The nodes knew another cluster, and this one did not follow it: they may have been given the wrong one. */
  get isOther(): boolean {
    return this.#known?.losses.some(({ kind, isConfirmed }) => kind === 'other' && !isConfirmed) ?? false
  }

  /** True when this process has met another cluster before this one. */
  get cameBack(): boolean {
    return this.#cameBack
  }

  /** Learns which cluster it is, now. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  async confirm(): Promise<void> {
    const found = await this.#map.getAll([KEY, YOUNG, LOSSES, OTHER])
    this.#isYoung = found.has(YOUNG)
    this.#other = parsed(found.get(OTHER))
    const begun = found.get(KEY)
    const isKnown = begun !== undefined && (JSON.parse(begun) as Begun).epoch === this.#begun?.epoch
    if (!isKnown) {
      if (begun === undefined) await putYoung(this.#map)
      await this.#learn()
      this.#isYoung = (await this.#map.get(YOUNG)) !== undefined
    }
    await this.#agree(found.get(LOSSES))
  }

  /** Records that an operator has seen these losses. @throws {MailroomError} `MR_STORE_UNAVAILABLE` */
  async confirmLosses(losses: readonly Loss[]): Promise<void> {
    const own = losses.filter(({ store }) => store === this.#options.store)
    if (own.length === 0) return
    await this.confirm()
    const confirmed = own.map((loss) => ({ ...loss, isConfirmed: true }))
    await this.#agree(await this.#map.get(LOSSES), confirmed)
  }

  close(): void {
    this.#cancel()
  }

  async #check(): Promise<void> {
    const { cluster, clock, census, reports } = this.#options
    if (cluster.missing() !== undefined) return
    try {
      const before = this.#begun?.epoch
      const counted = census === null ? undefined : await census.count()
      await this.confirm()
      const { store, epoch } = this.#known!
      // What was counted is of this cluster only if it was there before and after.
      const isSame = before === epoch
      const now = clock.now()
      if (counted !== undefined && isSame) {
        this.#learned({ count: counted, perEntry: census!.perEntry, countedAt: now, lastSeenAt: now })
      } else {
        const [most] = reports()
          .filter(({ seen }) => seen.store === store && seen.epoch === epoch)
          .sort((a, b) => b.seen.count - a.seen.count)
        this.#learned({ lastSeenAt: now, ...(census === null && most && { count: most.seen.count }) })
      }
      await this.#heedOther()
    } catch (error) {
      onlyAway(error) // It is checked when it is back.
    }
  }

  async #learn(): Promise<void> {
    const { laneCount, random, clock, store, name } = this.#options
    const now = clock.now()
    const own: Begun = { epoch: Math.floor(random() * 36 ** 10).toString(36), lanes: laneCount, at: now }
    const found = JSON.parse(await putOnce(this.#map, KEY, JSON.stringify(own), FOR_EVER_MS)) as Begun
    this.#cameBack ||= this.#begun !== undefined && this.#begun.epoch !== found.epoch
    this.#begun = found
    const known = this.#known
    if (known?.epoch === found.epoch) return
    const lost = known === undefined ? [] : [lossOf(known, { name, at: found.at }, now)]
    this.#known = {
      ...{ store, epoch: found.epoch, name, firstSeenAt: now, lastSeenAt: now },
      ...{ count: 0, countedAt: 0, perEntry: known?.perEntry ?? 1 },
      losses: mergedLosses(known?.losses ?? [], lost, found.epoch),
    }
    this.#options.remember(this.#known)
  }

  /**
   * Makes the losses that the cluster has, those that this process knows, and `more` one and the same.
   *
   * @param stands What the cluster was seen to have.
   */
  async #agree(stands: string | undefined, more: readonly Loss[] = []): Promise<void> {
    for (;;) {
      const { epoch, losses } = this.#known!
      const known = mergedLosses(losses, more, epoch)
      const merged = mergedLosses(parsed<Loss[]>(stands) ?? [], known, epoch)
      const text = JSON.stringify(merged)
      let isWritten = text === (stands ?? '[]')
      if (isWritten) {
        if (text !== JSON.stringify(losses)) this.#learned({ losses: merged })
        return
      }
      if (stands === undefined) {
        stands = await this.#map.putIfAbsent(LOSSES, text, FOR_EVER_MS)
        isWritten = stands === undefined
      } else {
        isWritten = await this.#map.replaceIfSame(LOSSES, stands, text, FOR_EVER_MS)
        if (!isWritten) stands = await this.#map.get(LOSSES)
      }
      if (isWritten) stands = text
    }
  }

  /**
   * Notices that the other store's cluster remembers another cluster here than there is, and remembers which one is
   * there. What it remembers is replaced only once those who use that cluster know its loss.
   */
  async #heedOther(): Promise<void> {
    const { store, reports, clock, name } = this.#options
    const views = reports()
    const isUnknown = ({ epoch }: SeenCluster) =>
      epoch !== this.#known!.epoch && !this.#known!.losses.some((loss) => loss.epoch === epoch)
    const gone = views.flatMap(({ other }) => (other?.store === store && isUnknown(other) ? [other] : []))
    if (gone.length > 0) {
      await this.confirm() // The report may be of a cluster that is newer than the one we knew.
      const lost = gone
        .filter(isUnknown)
        .map((seen) => lossOf(seen, { name, at: this.#begun?.at }, clock.now()))
      if (lost.length > 0) await this.#agree(await this.#map.get(LOSSES), lost)
    }
    const others = views.filter(({ seen }) => seen.store !== store)
    const known = this.#other
    const next =
      known === undefined
        ? others[0]
        : (others.find(({ seen }) => seen.epoch === known.epoch) ??
          others.find(({ losses }) => losses.some(({ epoch }) => epoch === known.epoch)))
    if (next === undefined || JSON.stringify(next.seen) === JSON.stringify(known)) return
    if (known?.epoch === next.seen.epoch && known.lastSeenAt >= next.seen.lastSeenAt) return
    await this.#map.set(OTHER, JSON.stringify(next.seen), FOR_EVER_MS)
    this.#other = next.seen
  }

  #learned(change: Partial<KnownCluster>): void {
    this.#known = { ...this.#known!, ...change }
    this.#options.remember(this.#known)
  }
}

function parsed<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as T)
}

/** Durably, and never without an end: `putOnce` would leave it one when its second call is lost. */
async function putYoung(map: ClusterMap): Promise<void> {
  while ((await map.putIfAbsent(YOUNG, '', NEW_CLUSTER_MS)) !== undefined) {
    if (await map.setTtl(YOUNG, NEW_CLUSTER_MS)) return
  }
}
