/**
 * Whether a post would be taken now. `/readyz` and every post ask the same question here: what is missing refuses the
 * post before anything is written; what is degraded does not.
 */
import {
  type ActorEntry,
  type Directory,
  journalsOf,
  livingMessages,
  type Outage,
} from '../../runtime/cluster/directory.ts'
import { MailroomError } from '../../runtime/errors.ts'
import { type JournalReport, restoredBy, sentenceOf, withoutJournal } from '../../runtime/losses.ts'
import type { NodeClock } from '../../runtime/node-time.ts'
import { outagesOf } from '../../runtime/stats.ts'
import { APPEND_RETRY_MS, HEARTBEAT_MS } from '../../runtime/timings.ts'
import type { Backend } from '../../storage/ports.ts'
import type { LoggingPool } from './logging-pool.ts'
import type { Losses } from './losses.ts'

/** From the directory, the facade's own backend, and its calls to the logging actors. */
export class Readiness {
  readonly #clock: NodeClock
  readonly #directory: Directory
  readonly #backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>
  readonly #logging: LoggingPool
  readonly #losses: Pick<Losses, 'open'>
  /** Since when some lane has had no holder: for ever, until all have had one at the same time. */
  #unheldSince: number | undefined = Number.NEGATIVE_INFINITY

  constructor(
    { clock, directory }: { clock: NodeClock; directory: Directory },
    backend: Pick<Backend, 'queue' | 'missing' | 'damaged'>,
    { logging, losses }: { logging: LoggingPool; losses: Pick<Losses, 'open'> },
  ) {
    this.#clock = clock
    this.#directory = directory
    this.#backend = backend
    this.#logging = logging
    this.#losses = losses
    directory.onChange(() => {
      this.#unheldSince = this.#unheldCount() === 0 ? undefined : (this.#unheldSince ?? clock.monotonic())
    })
  }

  /**
   * Lets a post pass when it can be stored. Waits until `deadlineAt` for a logging actor that starts or did not answer.
   *
   * @throws {MailroomError} `MR_CLOCK_WRONG` or `MR_STORE_UNAVAILABLE`, outcome `none`: nothing has been written.
   */
  async admit(deadlineAt: number): Promise<void> {
    for (;;) {
      const problem = this.#clock.problem()
      if (problem !== undefined) throw problem
      const [lacking] = this.#backend.missing()
      if (lacking !== undefined) throw unavailable('queue', lacking)
      const { isAble, mayCome, troubles } = this.#logging.ability()
      if (isAble) return
      const leftMs = deadlineAt - this.#clock.monotonic()
      if (!mayCome || leftMs <= 0)
        throw unavailable('log', troubles.join('; ') || 'no logging actor is running')
      await this.#clock.sleep(Math.min(leftMs, APPEND_RETRY_MS))
    }
  }

  /** What keeps posts from being taken. A facade that drains still takes them, but soon will not. */
  missing(isDraining: boolean): string[] {
    const missing = isDraining ? ['this node is draining'] : []
    const problem = this.#clock.problem()
    if (problem !== undefined) missing.push(problem.message)
    missing.push(...this.#backend.missing())
    const { isAble, troubles } = this.#logging.ability()
    if (!isAble) missing.push('a ready logging actor', ...troubles)
    return missing
  }

  /** What is missing while posts are taken. */
  degraded(): string[] {
    const actors = this.#directory.actors()
    const { isAble, troubles } = this.#logging.ability()
    const degraded = isAble ? troubles : []
    const messages = actors.filter(({ role }) => role === 'messages')
    if (!messages.some(({ state }) => state === 'ready')) degraded.push('a ready messages actor')
    degraded.push(...messages.flatMap(troublesOf), ...outagesOf(messages).map(sentenceOfOutage))
    if (messages.some(({ paused }) => paused)) {
      degraded.push('delivery is paused: messages wait until `mailroom resume`')
    }
    // A lane on its way from one holder to the next is none that lacks one.
    if (this.#unheldSince !== undefined && this.#clock.monotonic() > this.#unheldSince + HEARTBEAT_MS) {
      degraded.push(`holders of ${this.#unheldCount()} lanes: messages in them wait`)
    }
    return degraded
  }

  /** What is being put back into a cluster that came back empty, and how far. Posts are taken meanwhile. */
  restoring(): string[] {
    const actors = this.#directory.actors()
    const logs = restoringLogs(actors).map(
      ({ done, total, since }) =>
        `the log: ${done} of about ${total} messages of a journal are put back${this.#lasting(since)}`,
    )
    const lanes = actors.flatMap(({ name, role, journal }) => {
      if (role !== 'messages' || journal === undefined || journal.wholeIn !== null) return []
      const { done, total, since, absent } = journal
      const nodes = [...new Set(absent.map(({ node }) => node))]
      if (nodes.length > 0) return [`the lanes of ${name}: waiting for the journals of ${nodes.join(', ')}`]
      return [
        `the lanes of ${name}: ${done} of about ${total} messages of the log were looked at${this.#lasting(since)}`,
      ]
    })
    return [...logs, ...lanes]
  }

  #lasting(since: number | null): string {
    return since === null ? '' : `, for ${Math.round(Math.max(0, this.#clock.now() - since) / 1000)} s now`
  }

  /** The number of lanes without a living holder. */
  #unheldCount(): number {
    const actors = this.#directory.actors()
    const living = new Set(livingMessages(actors))
    const held = actors.flatMap(({ name, lanes = {} }) => (living.has(name) ? Object.keys(lanes) : []))
    return this.#backend.queue.laneCount - new Set(held).size
  }

  /** A facade that cannot start is a warning only: the facade that answers this takes posts. */
  warnings(): string[] {
    const actors = this.#directory.actors()
    const facades = actors.filter(({ role }) => role === 'facade')
    const unjournaled = actors.filter(isUnjournaled).map(({ node }) => node)
    return [
      ...this.#clock.warnings(),
      ...this.#directory.warnings(),
      ...(unjournaled.length > 0 ? [withoutJournal([...new Set(unjournaled)])] : []),
      ...facades.flatMap((facade) => (facade.state === 'ready' ? [] : troublesOf(facade))),
    ]
  }

  damaged(): string[] {
    const ofActors = this.#directory.actors().flatMap(({ damaged = [] }) => damaged)
    const restored = restoredBy(journalsOf(this.#directory))
    const losses = this.#losses.open().map((loss) => sentenceOf(loss, restored))
    return [...new Set([...this.#backend.damaged(), ...ofActors]), ...losses]
  }
}

/** Journals of the log that their cluster lacks, each once. */
export function restoringLogs(actors: readonly ActorEntry[]): JournalReport[] {
  const byId = new Map<string, JournalReport>()
  for (const { role, state, journal } of actors) {
    if (role !== 'logging' || state !== 'ready' || journal === undefined) continue
    const known = byId.get(journal.id)
    const isFurther = known === undefined || journal.wholeIn !== null || journal.done > known.done
    if (isFurther && known?.wholeIn !== null) byId.set(journal.id, journal)
  }
  return [...byId.values()].filter(({ wholeIn }) => wholeIn === null)
}

/** On Hazelcast, it should have a journal and has none. */
function isUnjournaled({ role, state, clusters = [], journal }: ActorEntry): boolean {
  return role !== 'facade' && state === 'ready' && clusters.length > 0 && journal === undefined
}

function troublesOf({ name, state, missing }: ActorEntry): string[] {
  const troubles = state === 'failed' ? ['it keeps crashing', ...missing] : missing
  return troubles.map((what) => `${name}: ${what}`)
}

/** Not why: errors of handlers are not for everyone. */
function sentenceOfOutage({ target, since, nextProbeAt }: Outage): string {
  const iso = (at: number) => new Date(at).toISOString()
  const next = nextProbeAt === null ? '' : `, the next probe is at ${iso(nextProbeAt)}`
  return `an outage of ${target} since ${iso(since)}: messages wait${next}`
}

function unavailable(store: 'log' | 'queue', reason: string): MailroomError {
  return new MailroomError('MR_STORE_UNAVAILABLE', { store, reason })
}
