/** All metrics as data. Whatever counts, shows or documents them goes by this table; `docs/metrics.md` is made of it. */
import type { Role } from './cluster/directory.ts'

/** Upper bounds, in seconds. */
const SHORT = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3]
const LONG = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300, 3600]
/** Those of OpenTelemetry's semantic conventions. */
const OF_HTTP = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

const ALL: readonly (Role | 'primary')[] = ['facade', 'logging', 'messages', 'primary']

/** One metric. Its values have base units: seconds, bytes, ratios from 0 to 1. */
export interface Metric {
  kind: 'counter' | 'gauge' | 'histogram'
  help: string
  labels: readonly string[]
  /** The processes that count it. */
  by: readonly (Role | 'primary')[]
  /** Upper bounds of a histogram, without +Inf. */
  buckets?: readonly number[]
  /** How gauges of two processes with the same labels become one, as while a process replaces another. Default: sum. */
  aggregator?: 'max' | 'min'
}

/** Name -> metric. */
export const METRICS = {
  mailroom_build_info: {
    ...{ kind: 'gauge', labels: ['version'], by: ['primary'] },
    help: 'Always 1; the version of Mailroom is a label.',
  },
  mailroom_ready: {
    ...{ kind: 'gauge', labels: [], by: ['primary'] },
    help: 'One while posts are taken here; on a node without facades, while it lacks nothing.',
  },
  mailroom_messages_accepted_total: {
    ...{ kind: 'counter', labels: ['source'], by: ['facade'] },
    help: 'Messages stored and acknowledged, repeats not counted. The source is empty for those posted to /messages.',
  },
  mailroom_refused_total: {
    ...{ kind: 'counter', labels: ['code'], by: ['facade'] },
    help: 'Posts, and lines of a stream of them, that were refused, by the code of their error.',
  },
  mailroom_key_replays_total: {
    ...{ kind: 'counter', labels: [], by: ['facade'] },
    help: 'Messages of repeated posts, which were answered with what the first post had stored.',
  },
  mailroom_accept_duration_seconds: {
    ...{ kind: 'histogram', labels: [], by: ['facade'], buckets: SHORT },
    help: 'From the parsed body of a post until its messages are stored.',
  },
  mailroom_log_commit_duration_seconds: {
    ...{ kind: 'histogram', labels: [], by: ['logging'], buckets: SHORT },
    help: 'One durable write to the log: a transaction, or an entry of a Hazelcast map.',
  },
  mailroom_log_batch_messages: {
    ...{ kind: 'histogram', labels: [], by: ['logging'], buckets: [1, 3, 10, 30, 100, 300, 1000, 3000] },
    help: 'Messages of one durable write to the log.',
  },
  mailroom_delivery_latency_seconds: {
    ...{ kind: 'histogram', labels: [], by: ['messages'], buckets: LONG },
    help: 'From the acceptance of a message until it is delivered.',
  },
  mailroom_handler_duration_seconds: {
    ...{ kind: 'histogram', labels: [], by: ['messages'], buckets: LONG },
    help: 'One call of the handler, or one forward, whatever came of it.',
  },
  mailroom_waiting_messages: {
    ...{ kind: 'gauge', labels: ['actor'], by: ['primary'] },
    help: 'Messages neither delivered nor dead, those in hand included.',
  },
  mailroom_oldest_waiting_age_seconds: {
    ...{ kind: 'gauge', labels: ['actor'], by: ['primary'] },
    help: 'Age of the oldest message that waits; 0 when none does.',
  },
  mailroom_in_hand_messages: {
    ...{ kind: 'gauge', labels: ['actor'], by: ['primary'] },
    help: 'Messages claimed by a messages actor and not settled yet.',
  },
  mailroom_delivered_total: {
    ...{ kind: 'counter', labels: [], by: ['messages'] },
    help: 'Messages delivered.',
  },
  mailroom_attempts_total: {
    ...{ kind: 'counter', labels: ['outcome'], by: ['messages'] },
    help: 'Calls of the handler, and forwards, by what came of them: delivered, retry, dead, outage or interrupted.',
  },
  mailroom_dead_letters: {
    ...{ kind: 'gauge', labels: ['actor'], by: ['primary'] },
    help: 'Dead letters that wait for an operator.',
  },
  mailroom_dead_total: {
    ...{ kind: 'counter', labels: [], by: ['messages'] },
    help: 'Messages that became dead letters.',
  },
  mailroom_outage_active: {
    ...{ kind: 'gauge', labels: ['target'], by: ['primary'] },
    help: 'One while an actor of this node finds the target away: the origin of the forward, or "handler".',
  },
  mailroom_outage_seconds_total: {
    ...{ kind: 'counter', labels: ['target'], by: ['primary'] },
    help: 'Time during which an actor of this node found the target away.',
  },
  mailroom_paused: {
    ...{ kind: 'gauge', labels: [], by: ['primary'] },
    help: 'One while an operator has paused delivery.',
  },
  mailroom_actor_up: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ['primary'] },
    help: 'One while the actor is ready, else 0.',
  },
  mailroom_actor_restarts_total: {
    ...{ kind: 'counter', labels: ['role', 'actor'], by: ['primary'] },
    help: 'Restarts of the actor, after a crash or by an operator.',
  },
  mailroom_mailbox_messages: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ['primary'] },
    help: 'Messages that the mailbox of the actor has admitted and not finished.',
  },
  mailroom_mailbox_limit_messages: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ['primary'] },
    help: 'The most messages that the mailbox of the actor admits.',
  },
  mailroom_lane_moves_total: {
    ...{ kind: 'counter', labels: [], by: ['messages'] },
    help: 'Lanes taken by a messages actor: at a start, after a crash, and when their number changes.',
  },
  mailroom_data_bytes: {
    ...{ kind: 'gauge', labels: [], by: ['primary'] },
    help: 'Size of the files in the data directory.',
  },
  mailroom_disk_free_bytes: {
    ...{ kind: 'gauge', labels: [], by: ['primary'] },
    help: 'Free room on the disk of the data directory, for this user.',
  },
  mailroom_damaged_files: {
    ...{ kind: 'gauge', labels: [], by: ['primary'] },
    help: 'What GET /readyz names as damaged of the files: those set aside, and rows that fail their checksum.',
  },
  mailroom_worker_snapshot_age_seconds: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ['primary'] },
    help: 'Age of the figures of the actor in this answer. Above 2 its process is frozen, or very busy.',
  },
  mailroom_events_cut_total: {
    ...{ kind: 'counter', labels: [], by: ['facade'] },
    help: 'Readers of GET /events that were cut because they fell behind.',
  },
  mailroom_log_lines_dropped_total: {
    ...{ kind: 'counter', labels: [], by: ALL },
    help: 'Log lines that were dropped because their destination stood still.',
  },
  http_server_request_duration_seconds: {
    ...{
      kind: 'histogram',
      labels: ['http_request_method', 'http_route', 'http_response_status_code'],
      by: ['facade'],
      buckets: OF_HTTP,
    },
    help: 'A request to the public API, from its head to its answer; no status: the client left before it.',
  },
  process_cpu_seconds_total: {
    ...{ kind: 'counter', labels: ['role', 'actor'], by: ALL },
    help: 'User and system CPU time of the processes that the actor has had.',
  },
  process_resident_memory_bytes: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL },
    help: 'Resident memory of the process.',
  },
  process_start_time_seconds: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL, aggregator: 'max' },
    help: 'Start of the process, in seconds since 1970.',
  },
  process_open_fds: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL },
    help: 'Open files and connections of the process. Absent where the system does not tell.',
  },
  nodejs_eventloop_utilization_ratio: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL, aggregator: 'max' },
    help: 'Part of the last second that the event loop was busy.',
  },
  nodejs_eventloop_delay_mean_seconds: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL, aggregator: 'max' },
    help: 'Mean delay of the event loop, over about ten seconds, sampled four times a second.',
  },
  nodejs_eventloop_delay_p99_seconds: {
    ...{ kind: 'gauge', labels: ['role', 'actor'], by: ALL, aggregator: 'max' },
    help: '99th percentile of these samples.',
  },
} as const satisfies Record<string, Metric>

/** The name of a metric. */
export type MetricName = keyof typeof METRICS

type NamesOf<K extends Metric['kind']> = {
  [N in MetricName]: (typeof METRICS)[N]['kind'] extends K ? N : never
}[MetricName]
export type CounterName = NamesOf<'counter'>
export type GaugeName = NamesOf<'gauge'>
export type HistogramName = NamesOf<'histogram'>

/** The labels of a metric's series. */
export type Labels<N extends MetricName> = Record<(typeof METRICS)[N]['labels'][number], string | number>

/** What came of an attempt: the values of a label. */
export const OUTCOMES = ['delivered', 'retry', 'dead', 'outage', 'interrupted'] as const

/** The format of `GET /metrics`: Prometheus text 0.0.4, or OpenMetrics 1.0. */
export type MetricsFormat = 'prometheus' | 'openmetrics'

/** Format -> media type. */
export const METRICS_TYPES = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const satisfies Record<MetricsFormat, string>

/** Chooses the format by a header `Accept`: OpenMetrics for who names it and likes it no less than text. */
export function formatOf(accept = ''): MetricsFormat {
  const weightOf = (names: RegExp) => {
    const weights = accept.split(',').flatMap((range) => {
      if (!names.test(range.trim())) return []
      return Number(/;\s*q=([\d.]+)/i.exec(range)?.[1] ?? 1)
    })
    return Math.max(0, ...weights)
  }
  const openmetrics = weightOf(/^application\/openmetrics-text(?!.*;\s*version=(?!1\.0\.0))/i)
  return openmetrics > 0 && openmetrics >= weightOf(/^text\/(plain|\*)/i) ? 'openmetrics' : 'prometheus'
}
