/**
 * Which lanes of a queue's cluster lack what journals have. A lane begins with its cluster, empty: it lacks what was begun
 * before that, and what was put back into the log since. The cluster's map `restored` has an entry for each lane that was
 * found to lack something: the journals whose content it has since, and when that was so. A cluster that came back empty
 * has lost it.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { JournalReport } from '../../runtime/losses.ts'
import { timeOf } from '../ids.ts'
import type { Journal, Refill } from '../journal.ts'
import type { Message } from '../ports.ts'
import type { JournaledKey, Outcomes } from '../records.ts'
import { type Cluster, type ClusterMap, FOR_EVER_MS, putOnce } from './cluster.ts'
import { type KeyEntry, laneName, NAMES } from './entries.ts'
import type { ClusterMark } from './mark.ts'

/** Keys that are written at once. */
const KEYS_AT_ONCE = 64

/** A lane as it was refilled last. */
interface Refilled {
  /** Their ids; `<id>@<epoch>`: the lane has what was put back from it into the log's cluster of that epoch. */
  journals: string[]
  /** Ms since 1970. */
  at: number
}

/** What it needs. */
export interface QueueRefillOptions {
  cluster: Cluster
  mark: Pick<ClusterMark, 'confirm' | 'isOther' | 'begunAt' | 'lacks'>
  clock: Clock
  keyRetentionMs: number
  journal: Journal
  /** @throws {MailroomError} `MR_LANE_ELSEWHERE` */
  put: (lane: number, messages: readonly Message[], outcomes: Outcomes) => Promise<void>
}

/** Answers `Refill`. */
export class QueueRefill implements Refill {
  readonly journal: Journal
  readonly put: Refill['put']
  readonly #options: QueueRefillOptions
  readonly #map: ClusterMap
  readonly #keys: ClusterMap
  readonly #lacking = new Set<number>()

  constructor(options: QueueRefillOptions) {
    this.journal = options.journal
    this.put = options.put
    this.#options = options
    this.#map = options.cluster.map(NAMES.restored)
    this.#keys = options.cluster.map(NAMES.keys)
  }

  async lacking(lanes: readonly number[], journals: readonly JournalReport[]): Promise<Map<number, string>> {
    const { mark } = this.#options
    await mark.confirm()
    const gaps = await gapsOf(this.#map, mark, { lanes, journals })
    const lacking = new Map<number, string>()
    for (const lane of lanes) {
      const stands = gaps.get(lane)
      if (stands === undefined) this.#lacking.delete(lane)
      else this.#lacking.add(lane)
      if (stands !== undefined && !mark.isOther) lacking.set(lane, await this.#sure(lane, stands))
    }
    return lacking
  }

  async putKeys(keys: readonly JournaledKey[]): Promise<void> {
    const { clock, keyRetentionMs } = this.#options
    const oldest = clock.ago(keyRetentionMs)
    for (let index = 0; index < keys.length; index += KEYS_AT_ONCE) {
      const some = keys.slice(index, index + KEYS_AT_ONCE)
      await Promise.all(
        some.map(async ({ value, hash, batchKey, count }) => {
          const leftMs = timeOf(batchKey) - oldest
          // The journal has the batch, the log perhaps not: a repeat takes the same steps again.
          const entry: KeyEntry = { batchKey, count, hash, done: false }
          if (leftMs > 0) await putOnce(this.#keys, value, JSON.stringify(entry), leftMs)
        }),
      )
    }
  }

  async finish(lane: number, lacking: string, journals: readonly JournalReport[]): Promise<boolean> {
    const known = (JSON.parse(lacking) as Refilled).journals
    const all = [
      ...new Set([...known, ...journals.flatMap(({ id, putBackIn }) => [id, ...putBack(id, putBackIn)])]),
    ].sort()
    const next: Refilled = { journals: all, at: this.#options.clock.now() }
    const isDone = await this.#map.replaceIfSame(laneName(lane), lacking, JSON.stringify(next), FOR_EVER_MS)
    if (isDone) this.#lacking.delete(lane)
    return isDone
  }

  isLacking(lane: number): boolean {
    return this.#lacking.has(lane)
  }

  #sure(lane: number, stands: string): Promise<string> {
    return putOnce(this.#map, laneName(lane), stands, FOR_EVER_MS)
  }
}

/** As they are in `Refilled.journals`. */
function putBack(id: string, epoch: string | null): string[] {
  return epoch === null ? [] : [`${id}@${epoch}`]
}

/**
 * The lanes that lack something of journals, each with its entry of `restored`, as it stands or would. One whose entry has
 * no journal is among them: somebody knew of a journal that it lacked, and nobody has refilled it since.
 */
async function gapsOf(
  map: ClusterMap,
  mark: Pick<ClusterMark, 'begunAt' | 'lacks'>,
  { lanes, journals }: { lanes: readonly number[]; journals: readonly JournalReport[] },
): Promise<Map<number, string>> {
  const found = await map.getAll(lanes.map(laneName))
  const fresh: Refilled = { journals: [], at: mark.begunAt }
  const gaps = new Map<number, string>()
  for (const lane of lanes) {
    const stands = found.get(laneName(lane)) ?? JSON.stringify(fresh)
    const { journals: known, at } = JSON.parse(stands) as Refilled
    const parts = journals.flatMap((journal) => [
      ...(mark.lacks(journal, at) ? [journal.id] : []),
      ...putBack(journal.id, journal.putBackIn),
    ])
    const isUnfinished = known.length === 0 && found.has(laneName(lane))
    if (isUnfinished || parts.some((part) => !known.includes(part))) gaps.set(lane, stands)
  }
  return gaps
}

/**
 * Tells a facade whether the keys of a lane are known. Those of a lane that lacks nothing stay known, as long as its cluster
 * is there and no other journal comes.
 *
 * @param journals Those that the directory has.
 */
export function lackedKeys(
  cluster: Cluster,
  mark: Pick<ClusterMark, 'confirm' | 'epoch' | 'begunAt' | 'lacks'>,
  journals: () => readonly JournalReport[],
): (lane: number) => Promise<boolean> {
  const map = cluster.map(NAMES.restored)
  let whole = { of: '', lanes: new Set<number>() }
  return async (lane) => {
    // What was put back into the log had its keys in the queue all along.
    const known = journals().map((journal) => ({ ...journal, putBackIn: null }))
    if (known.length === 0) return false
    // It may have come back empty since the last call to it.
    await mark.confirm()
    const of = `${mark.epoch} ${known.map(({ id, beganAt }) => `${id} ${beganAt}`).join()}`
    if (whole.of !== of) whole = { of, lanes: new Set() }
    const { lanes } = whole
    if (lanes.has(lane)) return false
    const gaps = await gapsOf(map, mark, { lanes: [lane], journals: known })
    if (gaps.size === 0) lanes.add(lane)
    return gaps.size > 0
  }
}
