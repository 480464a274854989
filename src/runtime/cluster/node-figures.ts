/**
 * The figures of a node, in its primary. Workers push what has changed once a second; nobody asks them, so one that is
 * frozen holds nothing up: its figures grow old, and their age is a figure, too.
 *
 *   worker ── changes, 1/s ──▶ last snapshot ──┐
 *   worker ── changes, 1/s ──▶ last snapshot ──┼── aggregate ──▶ GET /metrics, Stats
 *   worker ended: its counters ──▶ base ───────┘
 *
 * Sums never go down: what a process has counted is added to the base when it ends. What it counted in its last second,
 * and had not pushed when it was killed, is missing.
 */
import type { Clock } from '../clock.ts'
import { dataOf, freeBytesOf } from '../disk.ts'
import { Figures, processSampler, type Series, type Snapshot } from '../figures.ts'
import { METRICS, METRICS_TYPES, type Metric, type MetricName, type MetricsFormat } from '../metrics.ts'
import { type Family, Registry } from '../metrics-library.ts'
import {
  type Disk,
  type Distribution,
  type NodeTotals,
  oldestAgeOf,
  outagesOf,
  type Totals,
  waitingOf,
} from '../stats.ts'
import { DISK_FIGURES_FILE_MS, DISK_FIGURES_MS, HEARTBEAT_MS } from '../timings.ts'
import type { ActorEntry, Role } from './directory.ts'

/** Whose process it is. */
interface Process {
  name: string
  role: Role
}

/** What an actor of a role waits for, and how long that takes: what is slow is found by it. */
const TOOK = {
  facade: 'mailroom_accept_duration_seconds',
  logging: 'mailroom_log_commit_duration_seconds',
  messages: 'mailroom_handler_duration_seconds',
} as const satisfies Record<Role, MetricName>

/** What `totals` adds up, once a second: all others are left to `metrics`. */
const TOTALLED: ReadonlySet<string> = new Set<MetricName>([
  'mailroom_messages_accepted_total',
  'mailroom_refused_total',
  'mailroom_key_replays_total',
  'mailroom_delivered_total',
  'mailroom_attempts_total',
  'mailroom_dead_total',
  'mailroom_accept_duration_seconds',
  'mailroom_delivery_latency_seconds',
])

/** What it needs of its node. */
export interface NodeFiguresOptions {
  node: string
  version: string
  /** `now` is the node's time. */
  clock: Pick<Clock, 'now' | 'monotonic' | 'every'>
  /** The actors of this node. */
  actors: () => readonly ActorEntry[]
  /** Posts are taken here. */
  isReady: () => boolean
  /** What messages are delivered to, as `ActorEntry.outage` names it; undefined: they are only stored. */
  target: string | undefined
  /** The data directory. */
  data: string
}

/** Keeps the figures of all processes of a node. */
export class NodeFigures {
  readonly #options: NodeFiguresOptions
  readonly #processes = new Map<Process, { families: Map<MetricName, Family>; at: number }>()
  /** Counters and histograms of processes that have ended. */
  #base: Family[] = []
  readonly #own = new Figures('primary')
  /** Of the primary itself, as of its last sample. */
  readonly #ownFamilies = new Map<MetricName, Family>()
  /** By actor: its restarts when it was last looked at. */
  readonly #restarts = new Map<string, number>()
  #tickedAt: number
  #disk: Disk | undefined
  #isMeasuring = false
  #data: { fileCount: number; bytes: number } | undefined
  #countDataAt = 0
  readonly #stops: (() => void)[] = []

  constructor(options: NodeFiguresOptions) {
    this.#options = options
    this.#tickedAt = options.clock.monotonic()
    const { version, target } = options
    this.#own.set('mailroom_build_info', [{ version }, 1])
    if (target !== undefined) this.#own.count('mailroom_outage_seconds_total', { target: labelOf(target) }, 0)
  }

  /** Samples from now on. */
  start(): void {
    const { clock } = this.#options
    const sample = processSampler(this.#own, { role: 'primary', actor: 'primary' })
    this.#stops.push(
      clock.every(HEARTBEAT_MS, () => {
        sample()
        this.tick()
      }),
      clock.every(DISK_FIGURES_MS, () => void this.measureDisk()),
    )
    sample()
    void this.measureDisk()
  }

  stop(): void {
    for (const stop of this.#stops) stop()
  }

  /** Takes what a living process has pushed. */
  received(process: Process, changes: Snapshot): void {
    const { families } = this.#processes.get(process) ?? { families: new Map<MetricName, Family>() }
    for (const [name, series] of changes) families.set(name, familyOf(name, series))
    this.#processes.set(process, { families, at: this.#options.clock.monotonic() })
  }

  /** A process has ended: what it has counted stays. */
  ended(process: Process): void {
    const families = [...(this.#processes.get(process)?.families.values() ?? [])]
    this.#processes.delete(process)
    const counted = families.filter(({ type }) => type !== 'gauge')
    if (counted.length > 0) this.#base = aggregated([this.#base, counted])
  }

  /** What the primary counts by itself, as of now. Called once a second. */
  tick(): void {
    const { clock, actors } = this.#options
    const now = clock.monotonic()
    const seconds = (now - this.#tickedAt) / 1000
    this.#tickedAt = now
    for (const { target } of outagesOf(actors())) {
      this.#own.count('mailroom_outage_seconds_total', { target: labelOf(target) }, seconds)
    }
    for (const { name: actor, role, restarts } of actors()) {
      const known = this.#restarts.get(actor) ?? 0
      const more = restarts < known ? restarts : restarts - known
      this.#own.count('mailroom_actor_restarts_total', { role, actor }, more)
      this.#restarts.set(actor, restarts)
    }
  }

  /** Measures the disk, which may stand still: nobody waits for it. */
  async measureDisk(): Promise<void> {
    if (this.#isMeasuring) return
    this.#isMeasuring = true
    const { node, data, clock } = this.#options
    const freeBytes = await freeBytesOf(data)
    if (this.#data === undefined || clock.monotonic() >= this.#countDataAt) {
      this.#data = await dataOf(data)
      this.#countDataAt = clock.monotonic() + (this.#data?.fileCount ?? 0) * DISK_FIGURES_FILE_MS
    }
    const isKnown = freeBytes !== undefined && this.#data !== undefined
    this.#disk = isKnown ? { node, dataBytes: this.#data!.bytes, freeBytes } : undefined
    this.#isMeasuring = false
  }

  /** All of it, as `GET /metrics` answers. */
  async metrics(format: MetricsFormat): Promise<string> {
    this.#look()
    const all = [...this.#snapshots(), await this.#ownSnapshot()]
    const renamed = format === 'openmetrics' ? all.map((families) => families.map(withoutTotal)) : all
    // The library's types lack the second parameter.
    const aggregate = Registry.aggregate as (all: Family[][], type: string) => Registry
    const registry = aggregate(renamed, METRICS_TYPES[format])
    for (const family of registry.getMetricsAsArray() as unknown as Family[]) bringTogether(family)
    return registry.metrics()
  }

  /** Of this node, for `statsOf`. */
  totals(): NodeTotals {
    const parts = this.#snapshots().map((families) => families.filter(({ name }) => TOTALLED.has(name)))
    const all = new Map(aggregated(parts).map((family) => [family.name as MetricName, family]))
    const sum = (name: MetricName) => all.get(name)?.values.reduce((sum, { value }) => sum + value, 0) ?? 0
    const totals: Totals = {
      accepted: sum('mailroom_messages_accepted_total'),
      refused: sum('mailroom_refused_total'),
      replayed: sum('mailroom_key_replays_total'),
      delivered: sum('mailroom_delivered_total'),
      attempts: sum('mailroom_attempts_total'),
      died: sum('mailroom_dead_total'),
      accept: distributionOf('mailroom_accept_duration_seconds', all),
      delivery: distributionOf('mailroom_delivery_latency_seconds', all),
    }
    const took = Object.fromEntries(
      [...this.#processes].flatMap(([{ name, role }, { families }]) => {
        const { count, sumSeconds } = distributionOf(TOOK[role], families)
        return count === 0 ? [] : [[name, { count, sumSeconds }]]
      }),
    )
    return { totals, disk: this.#disk ?? null, target: this.#options.target, took }
  }

  #snapshots(): Family[][] {
    return [this.#base, ...[...this.#processes.values()].map(({ families }) => [...families.values()])]
  }

  async #ownSnapshot(): Promise<Family[]> {
    for (const [name, series] of await this.#own.changes())
      this.#ownFamilies.set(name, familyOf(name, series))
    return [...this.#ownFamilies.values()]
  }

  /** Sets the gauges that follow from the directory: the same numbers as `GET /actors` shows. */
  #look(): void {
    const { clock, isReady, target } = this.#options
    const actors = this.#options.actors()
    const now = clock.now()
    const own = this.#own
    this.tick()
    own.set('mailroom_ready', [{}, Number(isReady())])
    own.set('mailroom_paused', [{}, Number(actors.some(({ paused }) => paused))])
    const damaged = new Set(actors.flatMap((actor) => actor.damaged ?? []))
    own.set('mailroom_damaged_files', [{}, damaged.size])
    const eachActor = (pick: (entry: ActorEntry) => number) =>
      actors.map((entry) => [{ role: entry.role, actor: entry.name }, pick(entry)] as const)
    own.set('mailroom_actor_up', ...eachActor(({ state }) => Number(state === 'ready')))
    own.set('mailroom_mailbox_messages', ...eachActor(({ mailbox }) => mailbox.depth))
    own.set('mailroom_mailbox_limit_messages', ...eachActor(({ mailbox }) => mailbox.capacity))
    const messages = actors.filter(({ role }) => role === 'messages')
    const eachOfMessages = (pick: (entry: ActorEntry) => number) =>
      messages.map((entry) => [{ actor: entry.name }, pick(entry)] as const)
    own.set('mailroom_waiting_messages', ...eachOfMessages(waitingOf))
    own.set('mailroom_in_hand_messages', ...eachOfMessages(({ inHand = 0 }) => inHand))
    own.set('mailroom_oldest_waiting_age_seconds', ...eachOfMessages((entry) => oldestAgeOf(entry, now)))
    own.set('mailroom_dead_letters', ...eachOfMessages(({ dead = 0 }) => dead))
    const away = new Set(outagesOf(actors).map((outage) => labelOf(outage.target)))
    const targets = new Set([...(target === undefined ? [] : [labelOf(target)]), ...away])
    own.set(
      'mailroom_outage_active',
      ...[...targets].map((name) => [{ target: name }, Number(away.has(name))] as const),
    )
    const monotonic = clock.monotonic()
    const ages = [...this.#processes].map(
      ([{ role, name: actor }, { at }]) => [{ role, actor }, (monotonic - at) / 1000] as const,
    )
    own.set('mailroom_worker_snapshot_age_seconds', ...ages)
    if (this.#disk !== undefined) {
      own.set('mailroom_data_bytes', [{}, this.#disk.dataBytes])
      own.set('mailroom_disk_free_bytes', [{}, this.#disk.freeBytes])
    }
  }
}

/** The library gathers by name and labels. */
function aggregated(all: Family[][]): Family[] {
  return Registry.aggregate(all).getMetricsAsArray() as unknown as Family[]
}

function familyOf(name: MetricName, series: readonly Series[]): Family {
  const { kind, help, aggregator, buckets = [] }: Metric = METRICS[name]
  const values =
    kind === 'histogram'
      ? series.flatMap((each) => histogramValues(name, each, buckets))
      : series.map(([labels, value = 0]) => ({ labels, value }))
  return { name, help, type: kind, aggregator, values } as unknown as Family
}

function histogramValues(name: string, [labels, ...values]: Series, buckets: readonly number[]) {
  const bounds = [...buckets, '+Inf']
  return values.map((value, index) => {
    if (index < bounds.length)
      return { metricName: `${name}_bucket`, labels: { le: bounds[index]!, ...labels }, value }
    return { metricName: `${name}_${index === bounds.length ? 'sum' : 'count'}`, labels, value }
  })
}

/** Of what it has aggregated, the library writes a counter's name with `_total` twice in OpenMetrics. */
function withoutTotal(family: Family): Family {
  return family.type === 'counter' ? { ...family, name: family.name.replace(/_total$/, '') } : family
}

/** The library leaves all buckets before all sums. OpenMetrics wants each histogram whole, one label set after another. */
function bringTogether({ type, values }: Family): void {
  if (type !== 'histogram') return
  const together = Map.groupBy(values, ({ labels: { le: _, ...labels } }) => JSON.stringify(labels))
  values.splice(0, values.length, ...[...together.values()].flat())
}

function distributionOf(name: MetricName, all: ReadonlyMap<MetricName, Family>): Distribution {
  const { buckets: bounds = [] }: Metric = METRICS[name]
  const values = all.get(name)?.values ?? []
  const buckets = new Map(values.map(({ labels, value }) => [labels['le'], value]))
  const of = (what: string) => values.find(({ metricName }) => metricName === what)?.value ?? 0
  return {
    buckets: bounds.map((bound) => [bound, buckets.get(bound) ?? 0]),
    count: of(`${name}_count`),
    sumSeconds: of(`${name}_sum`),
  }
}

/** A target as a label: of a URL its origin, as a path may be a secret. */
function labelOf(target: string): string {
  return URL.parse(target)?.origin ?? target.replace(/^the /, '')
}
