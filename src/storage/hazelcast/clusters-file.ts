/** What a node knows of the clusters, as it outlives the node: `clusters.json` in `--data`. */
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../runtime/clock.ts'
import { inWords } from '../../runtime/errors.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { KnownCluster, KnownClusters, Loss } from '../../runtime/losses.ts'
import { KNOWN_PERIOD_MS } from '../../runtime/timings.ts'

const NAME = 'clusters.json'
const WITHOUT = 'a cluster that comes back empty while all of Mailroom restarts may go unnoticed'

/** What a node's data directory knows of the clusters. */
export class ClustersFile {
  readonly #data: string
  readonly #path: string
  readonly #temporary: string
  readonly #logger: Logger
  readonly #cancel: () => void
  #next: KnownClusters | undefined
  #important = ''
  #writing: Promise<void> = Promise.resolve()
  #lastProblem = ''

  /**
   * @param node Name of the node. Nodes may share a data directory: each writes the file as a whole, and what the
   * last one wrote is as good as what the others know.
   */
  constructor({ data, node, clock, logger }: { data: string; node: string; clock: Clock; logger: Logger }) {
    this.#data = data
    this.#path = join(data, NAME)
    this.#temporary = `${this.#path}.${node}.new`
    this.#logger = logger
    this.#cancel = clock.every(KNOWN_PERIOD_MS, () => void this.#write())
  }

  /** What was stored last; nothing when there is no file, or one that is damaged: that is kept beside it, and logged. */
  read(): KnownClusters {
    try {
      if (!existsSync(this.#path)) return {}
      return checked(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (error) {
      const kept = `${this.#path}.damaged`
      this.#logger.error({ error: inWords(error), kept }, `${NAME} cannot be read: ${WITHOUT}`)
      try {
        renameSync(this.#path, kept)
      } catch {
        // What cannot be moved is written over, or reported as it cannot be written.
      }
      return {}
    }
  }

  /**
   * Stores durably what is known: at once when a cluster or a loss is new, else every `KNOWN_PERIOD_MS`. Resolves when
   * what is written now is written; never rejects.
   */
  store(known: KnownClusters): Promise<void> {
    this.#next = known
    const important = JSON.stringify(Object.values(known).map(({ epoch, losses }) => [epoch, losses]))
    if (important === this.#important) return this.#writing
    this.#important = important
    return this.#write()
  }

  /** Why it cannot be written; empty when it can. */
  warnings(): string[] {
    return this.#lastProblem === '' ? [] : [`${NAME} cannot be written (${this.#lastProblem}): ${WITHOUT}`]
  }

  /** Stores what is not stored yet. */
  async close(): Promise<void> {
    this.#cancel()
    await this.#write()
  }

  /** One write after the other. Never rejects. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      const known = this.#next
      if (known === undefined) return
      this.#next = undefined
      try {
        await mkdir(this.#data, { recursive: true, mode: 0o700 })
        await writeFile(this.#temporary, `${JSON.stringify(known)}\n`, { flush: true, mode: 0o600 })
        await rename(this.#temporary, this.#path)
        this.#lastProblem = ''
      } catch (error) {
        this.#next ??= known
        this.#report(error)
      }
    })
    return this.#writing
  }

  /** Once for each reason. */
  #report(error: unknown): void {
    const { message } = error as Error
    if (message !== this.#lastProblem)
      this.#logger.error({ err: error }, `${NAME} cannot be written: ${WITHOUT}`)
    this.#lastProblem = message
  }
}

/** @throws {Error} What is wrong. */
function checked(value: unknown): KnownClusters {
  if (Object.getPrototypeOf(value) !== Object.prototype) throw new Error('no object')
  const known = value as KnownClusters
  for (const [store, cluster] of Object.entries(known)) {
    if (!['log', 'queue'].includes(store) || !isKnown(store, cluster)) throw new Error(`bad entry ${store}`)
  }
  return known
}

function isKnown(store: string, { losses, ...cluster }: KnownCluster): boolean {
  const { epoch, name, firstSeenAt, lastSeenAt, countedAt, count, perEntry } = cluster
  return (
    cluster.store === store &&
    [epoch, name].every((text) => typeof text === 'string') &&
    [firstSeenAt, lastSeenAt, countedAt, count, perEntry].every(Number.isFinite) &&
    losses.every((loss) => isLoss(store, loss))
  )
}

function isLoss(store: string, loss: Loss): boolean {
  const { epoch, kind, lastSeenAt, noticedAt, count, isConfirmed } = loss
  return (
    loss.store === store &&
    typeof epoch === 'string' &&
    ['empty', 'other'].includes(kind) &&
    [lastSeenAt, noticedAt, count].every(Number.isFinite) &&
    typeof isConfirmed === 'boolean'
  )
}
