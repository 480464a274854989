/**
 * The parts of the metrics library that are used. Its index loads all of it, OpenTelemetry and an HTTPS client included,
 * which takes each process 40 ms of CPU; these take 3 ms. The only file that imports the library.
 */
import { createRequire } from 'node:module'
import type * as library from '@prometheus-io/client'

const load = createRequire(import.meta.url)

export type Counter = library.Counter<string>
export type Gauge = library.Gauge<string>
export type Histogram = library.Histogram<string>
export type Registry = library.Registry
/** A metric as the library aggregates it. */
export type Family = library.MetricObjectWithValues<library.MetricValueWithName<string>>

export const Counter: typeof library.Counter<string> = load('@prometheus-io/client/lib/counter.js')
export const Gauge: typeof library.Gauge<string> = load('@prometheus-io/client/lib/gauge.js')
export const Histogram: typeof library.Histogram<string> = load('@prometheus-io/client/lib/histogram.js')
export const Registry: typeof library.Registry = load('@prometheus-io/client/lib/registry.js')
