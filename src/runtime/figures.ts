/**
 * What one process counts, in a registry of the metrics library. A worker sends the primary what has changed, once a
 * second (`cluster/node-figures.ts`).
 */
import { statSync } from 'node:fs'
import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Role } from './cluster/directory.ts'
import {
  type CounterName,
  type GaugeName,
  type HistogramName,
  type Labels,
  METRICS,
  type Metric,
  type MetricName,
} from './metrics.ts'
import { Counter, Gauge, Histogram, Registry } from './metrics-library.ts'
import { droppedLineCount } from './output.ts'

/**
 * One series: its labels, then its value. A histogram has several: how many observations were at most each upper bound,
 * how many there were, their sum, and again how many there were.
 */
export type Series = [labels: Record<string, string | number>, ...values: number[]]

/** Metrics with all their series. */
export type Snapshot = [name: MetricName, series: Series[]][]

/** Whose figures they are. */
export interface Owner {
  role: Role | 'primary'
  actor: string
}

/** Each sample wakes the process: at 50 ms an idle node takes half a percent of a core for it. */
const EVENT_LOOP_RESOLUTION_MS = 250
/** Samples of the process between two resets of the delay of its event loop. */
const DELAY_SAMPLES = 10
const NO_LABELS = {}

/** Counts what the table of metrics says that a process of a role counts. */
export class Figures {
  readonly #metrics = new Map<MetricName, Counter | Gauge | Histogram>()
  readonly #changed = new Set<MetricName>()

  constructor(role: Role | 'primary') {
    const registers = [new Registry()]
    for (const [name, metric] of Object.entries<Metric>(METRICS) as [MetricName, Metric][]) {
      if (!metric.by.includes(role)) continue
      const { kind, help, labels: labelNames, buckets = [] } = metric
      const options = { name, help, labelNames, registers }
      const made = created(kind, options, buckets)
      if (made instanceof Gauge) empty(made, metric)
      this.#metrics.set(name, made)
      this.#changed.add(name)
    }
  }

  /** Adds to a counter. `by` 0 makes the series known, so that its first increase is seen. */
  count<N extends CounterName>(name: N, labels: Labels<N>, by = 1): void {
    this.#of<Counter>(name).inc(labels, by)
  }

  /** Adds one observation to a histogram: seconds, or a number of messages. */
  observe<N extends HistogramName>(
    name: N,
    value: number,
    labels: Labels<N> | typeof NO_LABELS = NO_LABELS,
  ): void {
    this.#of<Histogram>(name).observe(labels, value)
  }

  /** Gives a gauge these series, and no others. */
  set<N extends GaugeName>(
    name: N,
    ...series: readonly (readonly [labels: Labels<N>, value: number])[]
  ): void {
    const gauge = this.#of<Gauge>(name)
    empty(gauge, METRICS[name])
    for (const [labels, value] of series) gauge.set(labels, value)
  }

  /** What has changed since the last call; at first, all. The caller sends it on. */
  async changes(): Promise<Snapshot> {
    const changed = [...this.#changed]
    this.#changed.clear()
    return Promise.all(changed.map((name) => this.#seriesOf(name)))
  }

  async #seriesOf(name: MetricName): Promise<[MetricName, Series[]]> {
    const { values } = await this.#metrics.get(name)!.get()
    const { kind, buckets = [] }: Metric = METRICS[name]
    if (kind !== 'histogram') return [name, values.map(({ labels, value }) => [labels, value] as Series)]
    const size = buckets.length + 3
    const series: Series[] = []
    for (let from = 0; from < values.length; from += size) {
      const own = values.slice(from, from + size)
      series.push([own.at(-1)!.labels, ...own.map(({ value }) => value)] as Series)
    }
    return [name, series]
  }

  #of<M>(name: MetricName): M {
    this.#changed.add(name)
    return this.#metrics.get(name) as M
  }
}

function created(
  kind: Metric['kind'],
  options: { name: string; help: string; labelNames: readonly string[]; registers: Registry[] },
  buckets: readonly number[],
) {
  // The library's type asks for registries of one content type; none is ever rendered here.
  const settings = options as never
  if (kind === 'counter') return new Counter(settings)
  if (kind === 'gauge') return new Gauge(settings)
  return new Histogram({ ...options, buckets: [...buckets] } as never)
}

/** A gauge without labels is 0 after a reset, and absent after a removal. */
function empty(gauge: Gauge, { labels }: Metric): void {
  gauge.reset()
  if (labels.length === 0) gauge.remove()
}

/**
 * Makes the sampler of this process.
 *
 * @returns A function that puts the process's own figures into `figures`. Call it about once a second.
 */
export function processSampler(figures: Figures, { role, actor }: Owner): () => void {
  const labels = { role, actor }
  const delay = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS })
  delay.enable()
  /** Each of its values has the resolution in it. */
  const delayOf = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - EVENT_LOOP_RESOLUTION_MS) / 1000
  const startedAt = Math.round(performance.timeOrigin) / 1000
  figures.set('process_start_time_seconds', [labels, startedAt])
  let utilization: EventLoopUtilization = performance.eventLoopUtilization()
  let [cpuSeconds, dropped, samples] = [0, 0, 0]
  return () => {
    const { user, system } = process.cpuUsage()
    const cpuNow = (user + system) / 1e6
    figures.count('process_cpu_seconds_total', labels, cpuNow - cpuSeconds)
    cpuSeconds = cpuNow
    const residentBytes = residentMemory()
    if (residentBytes !== undefined) figures.set('process_resident_memory_bytes', [labels, residentBytes])
    const openCount = openFileCount()
    if (openCount !== undefined) figures.set('process_open_fds', [labels, openCount])
    const now = performance.eventLoopUtilization()
    const busy = performance.eventLoopUtilization(now, utilization).utilization
    utilization = now
    figures.set('nodejs_eventloop_utilization_ratio', [labels, busy])
    if (delay.count > 0) {
      figures.set('nodejs_eventloop_delay_mean_seconds', [labels, delayOf(delay.mean)])
      figures.set('nodejs_eventloop_delay_p99_seconds', [labels, delayOf(delay.percentile(99))])
    }
    if (++samples % DELAY_SAMPLES === 0) delay.reset()
    const droppedNow = droppedLineCount()
    if (droppedNow > dropped) figures.count('mailroom_log_lines_dropped_total', {}, droppedNow - dropped)
    dropped = droppedNow
  }
}

/** Undefined when it cannot be read now: Node opens a file for it, which a process with too many cannot. */
function residentMemory(): number | undefined {
  try {
    return process.memoryUsage.rss()
  } catch {
    return undefined
  }
}

/** Linux 6.2 and later tell it as the size of a directory. */
function openFileCount(): number | undefined {
  return statSync('/proc/self/fd', { throwIfNoEntry: false })?.size || undefined
}
